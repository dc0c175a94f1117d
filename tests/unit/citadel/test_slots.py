"""The life of authorities, from their rows alone."""

from datetime import UTC, datetime, timedelta

from hauberk.citadel import slots
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def authority(name: str, slot: Slot, parent: str = "", age: int = 0) -> AuthorityRow:
    kind = Kind.ISSUING if parent else Kind.ROOT
    return AuthorityRow(id=name, kind=kind, slot=slot, public="", parent=parent, created=NOW - timedelta(days=age))


ROWS = (
    authority("a", Slot.ACTIVE, age=9),
    authority("a1", Slot.OLD, "a", age=9),
    authority("a2", Slot.ACTIVE, "a", age=5),
    authority("b", Slot.PREPARED),
    authority("b1", Slot.PREPARED, "b"),
    authority("z", Slot.RETIRED, age=20),
    authority("z1", Slot.RETIRED, "z", age=20),
)


def slots_of(rows: slots.Rows) -> dict[str, str]:
    return {row.id: row.slot.value for row in rows}


def test_roots_are_trusted_before_and_after_they_sign() -> None:
    assert [row.id for row in slots.trusted_roots(ROWS)] == ["a", "b"]


def test_one_authority_of_a_kind_signs() -> None:
    roots, issuing = slots.active(ROWS, Kind.ROOT), slots.active(ROWS, Kind.ISSUING)
    assert roots is not None
    assert issuing is not None
    assert (roots.id, issuing.id) == ("a", "a2")
    assert slots.active(ROWS, Kind.JWT) is None


def test_an_exchange_makes_everything_below_the_old_root_old_and_is_undone_by_its_reverse() -> None:
    there = slots.merged(ROWS, slots.exchange(ROWS, new="b", old="a", now=NOW))
    assert slots_of(there) == {"a": "old", "a1": "old", "a2": "old", "b": "active", "b1": "active", "z": "retired", "z1": "retired"}
    assert slots.to_renew(there) == {"a1", "a2"}
    back = slots.merged(there, slots.exchange(there, new="a", old="b", now=NOW))
    assert slots_of(back) == {"a": "active", "a1": "old", "a2": "active", "b": "old", "b1": "old", "z": "retired", "z1": "retired"}
    assert slots.to_renew(back) == {"b1"}


def test_without_an_old_root_no_other_root_is_touched() -> None:
    assert "a" not in slots_of(slots.exchange(ROWS, new="b", old="", now=NOW))


def test_a_successor_signs_at_once_and_says_since_when() -> None:
    changed = slots.succeed(ROWS, authority("a3", Slot.PREPARED, "a"), NOW)
    assert slots_of(changed) == {"a2": "old", "a3": "active"}
    assert changed[-1].activated == NOW


def test_of_several_that_wait_below_one_root_the_last_signs_and_the_others_never_will() -> None:
    rows = (*ROWS, authority("a3", Slot.PREPARED, "a", age=1))
    newest = authority("a4", Slot.PREPARED, "a")
    assert slots_of(slots.overtaken(rows, newest, NOW)) == {"a3": "old"}
    assert slots_of(slots.succeed((*rows, newest), newest, NOW)) == {"a2": "old", "a3": "old", "a4": "active"}


def test_a_root_is_retired_with_all_below_it() -> None:
    assert slots_of(slots.retire(ROWS, {"a"}, NOW)) == {"a": "retired", "a1": "retired", "a2": "retired"}


def test_an_old_issuing_key_alone_asks_nobody_to_renew() -> None:
    assert slots.to_renew(ROWS) == frozenset()
