"""The rows of nodes: the other machines that have joined, and those that may not any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hauberk.citadel.state import State, Table, Write
from hauberk.identity.wire import milliseconds, moment

NODES: Final = Table(
    name="nodes",
    create=(
        """CREATE TABLE nodes (
            name TEXT PRIMARY KEY, joined INTEGER NOT NULL, token TEXT NOT NULL, seen INTEGER NOT NULL, banned INTEGER NOT NULL,
            reason TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One machine. `joined` None: not since it was readmitted. Its agent's certificates are in `issued`."""

    name: str
    joined: datetime | None = None
    token: str = ""  # the id of the token it joined with
    seen: datetime | None = None
    banned: datetime | None = None
    reason: str = ""


def read_nodes(state: State) -> tuple[NodeRow, ...]:
    """All, by name."""
    return tuple(_read(*row) for row in state.rows("SELECT name, joined, token, seen, banned, reason FROM nodes"))


def write_nodes(rows: Sequence[NodeRow]) -> Write:
    """These rows are as given afterwards."""
    values = [(row.name, _number(row.joined), row.token, _number(row.seen), _number(row.banned), row.reason) for row in rows]
    return Write("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?)", values)


def _number(when: datetime | None) -> int:
    return 0 if when is None else milliseconds(when)


def _read(*row: object) -> NodeRow:
    name, joined, token, seen, banned, reason = row
    return NodeRow(
        name=str(name),
        joined=_moment(joined),
        token=str(token),
        seen=_moment(seen),
        banned=_moment(banned),
        reason=str(reason),
    )


def _moment(number: object) -> datetime | None:
    return moment(int(str(number))) if number else None
