"""The rows of nodes: the other machines that have joined, and those that may not any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hauberk.citadel.state import Row, State, Table, Write
from hauberk.identity.wire import milliseconds, moment

NODES: Final = Table(
    name="nodes",
    create=(
        """CREATE TABLE nodes (
            name TEXT PRIMARY KEY, joined INTEGER NOT NULL, token TEXT NOT NULL, seen INTEGER NOT NULL, banned INTEGER NOT NULL,
            reason TEXT NOT NULL, former TEXT NOT NULL DEFAULT ''
        ) STRICT, WITHOUT ROWID""",
    ),
    version=2,
    upgrades={1: ("ALTER TABLE nodes ADD COLUMN former TEXT NOT NULL DEFAULT ''",)},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One machine. `joined` None: not since it was readmitted. Its agent's certificates are in `issued`.

    `former`: serials of those that lived when it joined, and are of the machine that had its name before.
    """

    name: str
    joined: datetime | None = None
    token: str = ""  # the id of the token it joined with
    seen: datetime | None = None
    banned: datetime | None = None
    reason: str = ""
    former: frozenset[str] = frozenset()


def read_nodes(state: State) -> tuple[NodeRow, ...]:
    """All, by name."""
    return tuple(_read(*row) for row in state.rows("SELECT name, joined, token, seen, banned, reason, former FROM nodes"))


def write_nodes(rows: Sequence[NodeRow]) -> Write:
    """These rows are as given afterwards."""
    return Write("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?)", [_values(row) for row in rows])


def _values(row: NodeRow) -> Row:
    times = (_number(row.seen), _number(row.banned))
    return row.name, _number(row.joined), row.token, *times, row.reason, " ".join(sorted(row.former))


def _number(when: datetime | None) -> int:
    return 0 if when is None else milliseconds(when)


def _read(*row: object) -> NodeRow:
    name, joined, token, seen, banned, reason, former = row
    return NodeRow(
        name=str(name),
        joined=_moment(joined),
        token=str(token),
        seen=_moment(seen),
        banned=_moment(banned),
        reason=str(reason),
        former=frozenset(str(former).split()),
    )


def _moment(number: object) -> datetime | None:
    return moment(int(str(number))) if number else None
