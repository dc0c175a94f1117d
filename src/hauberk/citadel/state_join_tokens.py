"""The rows of join tokens: of the secret only a digest, so that who reads the database joins nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hauberk.citadel.state import State, Table, Write
from hauberk.identity.wire import milliseconds, moment

JOIN_TOKENS: Final = Table(
    name="join_tokens",
    create=(
        """CREATE TABLE join_tokens (
            id TEXT PRIMARY KEY, node TEXT NOT NULL, digest BLOB NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
            used INTEGER NOT NULL, misses INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTokenRow:
    """One token: good for `node` alone, once, until `expires`. `misses`: how often it was shown with a wrong secret."""

    id: str
    node: str
    digest: bytes
    created: datetime
    expires: datetime
    used: datetime | None = None
    misses: int = 0


def read_join_tokens(state: State) -> tuple[JoinTokenRow, ...]:
    """All, the oldest first."""
    rows = state.rows("SELECT id, node, digest, created, expires, used, misses FROM join_tokens ORDER BY created, id")
    return tuple(_read(*row) for row in rows)


def write_join_tokens(rows: Sequence[JoinTokenRow]) -> Write:
    """These rows are as given afterwards."""
    values = [
        (each.id, each.node, each.digest, milliseconds(each.created), milliseconds(each.expires), _optional(each.used), each.misses)
        for each in rows
    ]
    return Write("INSERT OR REPLACE INTO join_tokens VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def forget_join_tokens(ids: Sequence[str]) -> Write:
    """These are gone."""
    return Write("DELETE FROM join_tokens WHERE id = ?", [(each,) for each in ids])


def _optional(when: datetime | None) -> int:
    return 0 if when is None else milliseconds(when)


def _read(*row: object) -> JoinTokenRow:
    identifier, node, digest, created, expires, used, misses = row
    assert isinstance(digest, bytes)
    return JoinTokenRow(
        id=str(identifier),
        node=str(node),
        digest=digest,
        created=moment(int(str(created))),
        expires=moment(int(str(expires))),
        used=moment(int(str(used))) if used else None,
        misses=int(str(misses)),
    )
