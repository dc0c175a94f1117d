"""Who is connected, and what was said last."""

from datetime import UTC, datetime, timedelta

from hauberk.citadel.roster import Roster
from hauberk.identity.wire import Holder, PodSubject, Report

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def report(sequence: int = 1, node_time: datetime = NOW) -> Report:
    holder = Holder(subject=PodSubject(namespace="a", name="b", uid="c"))
    return Report(sequence=sequence, node_time=node_time, holders=(holder,))


def test_an_agent_is_there_as_long_as_its_stream() -> None:
    roster = Roster()
    with roster.connected("n", NOW) as line:
        assert roster.reports == {}
        assert roster.heard("n", line, report(), NOW)
        assert roster.reports == {"n": report()}
        assert [node for node, _ in roster.holders()] == ["n"]
    assert roster.agents == {}


def test_a_later_stream_takes_the_place_of_the_former_one() -> None:
    roster = Roster()
    with roster.connected("n", NOW) as former:
        assert not former.is_set()
        with roster.connected("n", NOW) as later:
            assert (former.is_set(), later.is_set()) == (True, False)
            assert not roster.heard("n", former, report(1), NOW)
            assert roster.heard("n", later, report(2), NOW)
        assert roster.agents == {}
    with roster.connected("n", NOW) as former, roster.connected("m", NOW):
        assert set(roster.agents) == {"n", "m"}


def test_the_end_of_a_former_stream_does_not_end_the_later_one() -> None:
    roster = Roster()
    former, later = roster.connected("n", NOW), roster.connected("n", NOW)
    former.__enter__()
    later.__enter__()
    former.__exit__(None, None, None)
    assert set(roster.agents) == {"n"}
    later.__exit__(None, None, None)


def test_everything_that_happens_wakes_whoever_waits() -> None:
    roster = Roster()
    with roster.connected("n", NOW) as line:
        assert roster.changed.is_set()
        roster.changed.clear()
        roster.heard("n", line, report(), NOW)
        assert roster.changed.is_set()
        roster.changed.clear()
    assert roster.changed.is_set()


def test_how_much_a_clock_is_ahead_is_known_from_the_report() -> None:
    roster = Roster()
    with roster.connected("n", NOW) as line:
        assert roster.agents["n"].ahead is None
        roster.heard("n", line, report(node_time=NOW + timedelta(seconds=7)), NOW)
        assert roster.agents["n"].ahead == timedelta(seconds=7)
