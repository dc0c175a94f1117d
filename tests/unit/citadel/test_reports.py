"""What agents report is read within limits."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.citadel.rig import NOW

from hauberk.citadel.reports import LARGEST, MOST_HOLDERS, read_reports
from hauberk.identity.wire import EntrySubject, Holder, InvalidMessage, PodSubject, Report


def of(*holders: Holder) -> bytes:
    return Report(sequence=1, node_time=NOW, holders=holders).encode()


def pod(number: int = 0, **others: str) -> Holder:
    subject = PodSubject(namespace="shop", name=f"web-{number}", uid=f"00000000-0000-0000-0000-{number:012}")
    return Holder(subject=subject, serial=others.get("serial", "0" * 32), problem=others.get("problem", ""))


async def stream(*messages: bytes) -> AsyncIterator[bytes]:
    for each in messages:
        yield each


async def read_all(*messages: bytes) -> tuple[list[Report], list[float]]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    return [report async for report in read_reports(stream(*messages), sleep)], pauses


async def test_every_report_is_read_to_the_end_of_the_stream() -> None:
    reports, _ = await read_all(of(pod()), of())
    assert [len(report.holders) for report in reports] == [1, 0]


async def test_as_many_identities_as_a_machine_can_have_are_read_and_no_more() -> None:
    largest = of(*map(pod, range(MOST_HOLDERS)))
    assert len(largest) < LARGEST
    reports, _ = await read_all(largest)
    assert len(reports[0].holders) == MOST_HOLDERS
    with pytest.raises(InvalidMessage, match="no machine has"):
        await read_all(of(*map(pod, range(MOST_HOLDERS + 1))))


@pytest.mark.parametrize(
    "holder",
    [
        pod(serial="x" * 5000),
        Holder(subject=PodSubject(namespace="x" * 5000, name="a", uid="u")),
        Holder(subject=EntrySubject(name="e", evidence=(("path", "x" * 5000),))),
    ],
)
async def test_a_name_longer_than_any_is_refused(holder: Holder) -> None:
    with pytest.raises(InvalidMessage, match="characters"):
        await read_all(of(holder))


async def test_a_long_problem_is_kept_as_far_as_people_read() -> None:
    reports, _ = await read_all(of(pod(problem="x" * 5000)))
    assert reports[0].holders[0].problem == "x" * 1024 + "…"


async def test_after_each_report_there_is_a_pause_that_grows_with_it_and_no_honest_agent_feels() -> None:
    thousand = of(*map(pod, range(1000)))
    _, pauses = await read_all(of(), thousand)
    # An agent waits for 0.1 s, and for a second more with a thousand holders.
    assert 0 < pauses[0] < 0.1 < pauses[1] < 1.1
