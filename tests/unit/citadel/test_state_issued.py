"""Rows of certificates: found by serial, holder and authority, forgotten when they are over."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hauberk.citadel.state import State, StateUnusable
from hauberk.citadel.state_issued import (
    ISSUED,
    KEPT_AFTER_EXPIRY,
    IssuedRow,
    count_living,
    prune_issued,
    read_issued,
    read_issued_of,
    read_issued_to,
    read_living,
    read_living_nodes,
    write_issued,
    write_revoked,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "db", [ISSUED])
    yield opened
    opened.close()


def row(number: int, holder: str = "pod shop/web u", node: str = "n", authority: str = "i", life: timedelta = HOUR) -> IssuedRow:
    return IssuedRow(
        serial=f"{number:032x}",
        spiffe_id="spiffe://td/ns/shop/sa/web",
        holder=holder,
        node=node,
        authority_id=authority,
        not_before=NOW,
        not_after=NOW + life,
        evidence='{"pod":"shop/web"}',
    )


def test_any_number_of_rows_is_written_and_found_again(state: State) -> None:
    rows = [row(number) for number in range(1000)]
    state.commit(*write_issued(rows))
    assert all(read_issued(state, serial=each.serial) == each for each in rows)
    assert read_issued(state, serial="f" * 32) is None
    assert write_issued([]) == ()


def test_a_serial_is_never_written_twice(state: State) -> None:
    state.commit(*write_issued([row(1)]))
    with pytest.raises(StateUnusable):
        state.commit(*write_issued([row(2), row(1)]))
    assert read_issued(state, serial=row(2).serial) is None


def test_a_holder_is_found_by_the_beginning_of_his_name_the_newest_first(state: State) -> None:
    rows = [row(1), row(2, life=2 * HOUR), row(3, "pod shop/web-2 u"), row(4, "pod shop/we_ u")]
    state.commit(*write_issued(rows))
    assert [each.serial[-1] for each in read_issued_to(state, holder_prefix="pod shop/web ")] == ["2", "1"]
    assert [each.serial[-1] for each in read_issued_to(state, holder_prefix="pod shop/we_ ")] == ["4"]


def test_what_is_expired_or_revoked_does_not_live(state: State) -> None:
    state.commit(*write_issued([row(1), row(2), row(3, authority="j"), row(4, "outside me", "", life=2 * HOUR)]))
    state.commit(write_revoked(row(2).serial, NOW, "stolen"))
    assert [each.serial[-1] for each in read_living(state, NOW, ["i"])] == ["1", "4"]
    assert read_living(state, NOW, []) == ()
    assert count_living(state, NOW) == {"i": (2, NOW + 2 * HOUR), "j": (1, NOW + HOUR)}
    assert read_living_nodes(state, NOW) == {"n": NOW + HOUR}
    assert read_living_nodes(state, NOW + HOUR) == {}
    assert read_issued(state, serial=row(2).serial) == replace(row(2), revoked_at=NOW, reason="stolen")


def test_what_was_over_long_ago_is_forgotten(state: State) -> None:
    state.commit(*write_issued([row(1), row(2, life=2 * HOUR)]))
    state.commit(prune_issued(NOW + HOUR + KEPT_AFTER_EXPIRY + timedelta(milliseconds=1)))
    assert [read_issued(state, serial=row(number).serial) is None for number in (1, 2)] == [True, False]


def test_a_database_of_before_gets_what_the_search_by_identity_goes_by(tmp_path: Path) -> None:
    before = replace(ISSUED, version=1, create=ISSUED.create[:-1], upgrades={})
    former = State.open(tmp_path / "old", [before])
    former.commit(*write_issued([row(1)]))
    former.close()
    for path in (tmp_path / "old", tmp_path / "new"):
        opened = State.open(path, [ISSUED])
        plan = opened.rows("EXPLAIN QUERY PLAN SELECT * FROM issued WHERE spiffe_id = ? ORDER BY not_after DESC", "x")
        assert "issued_by_identity" in str(plan)
        found = read_issued_of(opened, spiffe_id="spiffe://td/ns/shop/sa/web")
        assert [each.serial for each in found] == ([f"{1:032x}"] if path.name == "old" else [])
        opened.close()
