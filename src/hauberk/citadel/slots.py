"""The life of authorities, decided from their rows alone: who is trusted, who signs, what changes when one replaces another."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot

TRUSTED = frozenset({Slot.PREPARED, Slot.ACTIVE, Slot.OLD})
Rows = Sequence[AuthorityRow]


def trusted_roots(rows: Rows) -> tuple[AuthorityRow, ...]:
    """Whose signatures are believed: a root is published before it is used and as long as anything below it lives."""
    return tuple(row for row in rows if row.kind is Kind.ROOT and row.slot in TRUSTED)


def active(rows: Rows, kind: Kind) -> AuthorityRow | None:
    """The one authority of `kind` that signs; of several (which never should be) the one activated last."""
    found = [row for row in rows if row.kind is kind and row.slot is Slot.ACTIVE]
    return max(found, key=lambda row: (row.activated or row.created, row.id), default=None)


def below(rows: Rows, root_id: str) -> tuple[AuthorityRow, ...]:
    """The issuing authorities that `root_id` has signed."""
    return tuple(row for row in rows if row.kind is Kind.ISSUING and row.parent == root_id)


def to_renew(rows: Rows) -> frozenset[str]:
    """Issuing authorities whose leaves are to be renewed now, because the root above them is on its way out."""
    return frozenset(row.id for root in rows if root.kind is Kind.ROOT and root.slot is Slot.OLD for row in below(rows, root.id))


def exchange(rows: Rows, *, new: str, old: str, now: datetime) -> tuple[AuthorityRow, ...]:
    """The rows that change when root `new` takes the place of root `old`: below `new` signs what was made last and is not retired."""
    changed = [_to(row, Slot.OLD, now) for row in rows if row.id == old or (old and row.parent == old and row.slot in TRUSTED)]
    changed += [_to(row, Slot.ACTIVE, now) for row in rows if row.id == new]
    candidates = [row for row in below(rows, new) if row.slot in TRUSTED]
    signer = max(candidates, key=lambda row: (row.created, row.id), default=None)
    return (*changed, *(_to(row, Slot.ACTIVE if row is signer else Slot.OLD, now) for row in candidates))


def succeed(rows: Rows, successor: AuthorityRow, now: datetime) -> tuple[AuthorityRow, ...]:
    """The rows that change when `successor` signs under a root that is trusted already: at once, the former ones are old."""
    former = [row for row in rows if row.kind is successor.kind and row.slot is Slot.ACTIVE and row.id != successor.id]
    return (*(_to(row, Slot.OLD, now) for row in former), *overtaken(rows, successor, now), _to(successor, Slot.ACTIVE, now))


def overtaken(rows: Rows, successor: AuthorityRow, now: datetime) -> tuple[AuthorityRow, ...]:
    """The rows that change when `successor` waits to sign under its root: who waited there before it never will, and is old."""
    if successor.kind is not Kind.ISSUING:
        return ()
    waiting = (row for row in below(rows, successor.parent) if row.slot is Slot.PREPARED and row.id != successor.id)
    return tuple(_to(row, Slot.OLD, now) for row in waiting)


def retire(rows: Rows, ids: Iterable[str], now: datetime) -> tuple[AuthorityRow, ...]:
    """The rows that change when these and all below them are retired."""
    chosen = frozenset(ids)
    return tuple(_to(row, Slot.RETIRED, now) for row in rows if (row.id in chosen or row.parent in chosen) and row.slot is not Slot.RETIRED)


def merged(rows: Rows, changed: Iterable[AuthorityRow]) -> tuple[AuthorityRow, ...]:
    """`rows` with the changed ones in their places, and new ones at the end."""
    newer = {row.id: row for row in changed}
    kept = tuple(newer.pop(row.id, row) for row in rows)
    return (*kept, *newer.values())


def _to(row: AuthorityRow, slot: Slot, now: datetime) -> AuthorityRow:
    return replace(row, slot=slot, activated=now if slot is Slot.ACTIVE and row.slot is not Slot.ACTIVE else row.activated)
