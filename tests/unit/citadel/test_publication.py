"""The Trust is told when it changes, with a sequence that never goes back."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.citadel.rig import NOW, HandClock

from hauberk.citadel.publication import PLAUSIBLE, Publication
from hauberk.citadel.state import State, StateUnusable, Write
from hauberk.citadel.state_issued import IssuedRow, write_issued
from hauberk.citadel.state_tables import TABLES
from hauberk.identity.trust import Trust
from hauberk.identity.wire import milliseconds


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "db", TABLES)
    yield opened
    opened.close()


def made(state: State, clock: HandClock | None = None) -> Publication:
    return Publication(state, "td", (clock or HandClock()).now)


async def test_a_change_has_a_later_sequence_and_what_is_no_change_has_none(state: State) -> None:
    publication = made(state)
    first = publication.trust
    assert first.sequence == milliseconds(NOW)
    second = await publication.publish(lambda trust: replace(trust, renew=frozenset({"a"})))
    assert second.sequence == first.sequence + 1
    assert await publication.publish(lambda trust: replace(trust, renew=frozenset({"a"}))) is second


async def test_writes_are_made_though_nothing_changed(state: State) -> None:
    publication = made(state)
    await publication.publish(lambda trust: trust, Write("INSERT INTO published VALUES (1, 5) ON CONFLICT DO UPDATE SET sequence = 5"))
    assert state.rows("SELECT sequence FROM published") == [(5,)]


async def test_what_could_not_be_written_is_not_told(state: State) -> None:
    publication = made(state)
    before = publication.trust
    with pytest.raises(StateUnusable):
        await publication.publish(lambda trust: replace(trust, renew=frozenset({"a"})), Write("INSERT INTO nowhere VALUES (1)"))
    assert publication.trust == before


async def test_a_clock_that_was_set_back_does_not_set_the_sequence_back(state: State) -> None:
    first = made(state).trust.sequence
    assert made(state, HandClock(NOW - timedelta(days=400))).trust.sequence == first + 1


async def test_the_window_of_renewals_follows_the_number_of_holders_in_few_steps(state: State) -> None:
    publication, told = made(state), list[float]()
    for holders in (1, 50, 51, 70, 400, 380, 250, 300, 100, 99_999, 2000, 10):
        await publication.spread(holders)
        told.append(publication.trust.renewal_window.total_seconds())
    assert told == [1, 1, 2, 2, 8, 8, 8, 8, 2, 90, 90, 1]


async def test_an_authority_that_starts_again_knows_how_many_hold_its_certificates(state: State) -> None:
    row = IssuedRow(
        serial="", spiffe_id="spiffe://td/x", holder="", node="n", authority_id="A", not_before=NOW, not_after=NOW + timedelta(hours=1)
    )
    pods = [replace(row, serial=f"{number}", holder=f"pod shop/web {number % 150}") for number in range(300)]
    over = [replace(row, serial=f"o{number}", holder=f"pod old/web {number}", not_after=NOW) for number in range(900)]
    outside = [replace(row, serial=f"x{number}", holder=f"outside {number}", node="") for number in range(900)]
    state.commit(*write_issued([*pods, *over, *outside]))
    assert made(state).trust.renewal_window == timedelta(seconds=4)


async def test_followers_hear_the_current_trust_and_the_newest_later(state: State) -> None:
    publication = made(state)
    following = publication.changes()
    assert await anext(following) is publication.trust
    waiting = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    assert not waiting.done()
    for name in "abc":
        await publication.publish(lambda trust, name=name: replace(trust, renew=frozenset({name})))  # type: ignore[misc] # a default
    heard: list[Trust] = [await waiting]
    while heard[-1] is not publication.trust:
        heard.append(await anext(following))
    assert heard[-1].renew == {"c"}


async def test_what_others_have_heard_is_exceeded(state: State) -> None:
    publication = made(state)
    far = publication.trust.sequence + 10**6
    await publication.outrun(far)
    assert publication.trust.sequence == far + 1
    await publication.outrun(far)
    assert publication.trust.sequence == far + 1


async def test_what_no_honest_agent_can_have_heard_is_not_exceeded_and_hides_nothing(state: State) -> None:
    publication = made(state)
    before = publication.trust
    decade = milliseconds(NOW + PLAUSIBLE)
    await publication.outrun(decade + 1, (1 << 53) - 2, (1 << 64) - 1)
    assert publication.trust is before
    await publication.outrun((1 << 53) - 2, before.sequence + 5)
    assert publication.trust.sequence == before.sequence + 6
    await publication.outrun(decade)
    assert publication.trust.sequence == decade + 1


async def test_changes_at_the_same_time_each_have_a_sequence_of_their_own(state: State) -> None:
    publication = made(state)
    told = await asyncio.gather(
        *(publication.publish(lambda trust, n=n: replace(trust, renew=trust.renew | {str(n)})) for n in range(20))  # type: ignore[misc] # a default
    )
    assert len({trust.sequence for trust in told}) == 20
    assert publication.trust.renew == {str(n) for n in range(20)}
