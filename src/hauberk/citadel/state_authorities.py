"""The rows of authorities: which there are, in which slot, and how far into the future they have signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hauberk.citadel.state import Row, State, Table, Write
from hauberk.identity.wire import milliseconds, moment

AUTHORITIES: Final = Table(
    name="authorities",
    create=(
        """CREATE TABLE authorities (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, slot TEXT NOT NULL, public TEXT NOT NULL, parent TEXT NOT NULL,
            created INTEGER NOT NULL, activated INTEGER NOT NULL, last_expiry INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
_SELECT = "SELECT id, kind, slot, public, parent, created, activated, last_expiry FROM authorities ORDER BY created, id"


class Kind(StrEnum):
    """What an authority signs: issuing certificates, leaves, JWT-SVIDs."""

    ROOT = "root"
    ISSUING = "issuing"
    JWT = "jwt"


class Slot(StrEnum):
    """Where an authority stands in its life. What is prepared, active or old is trusted; only what is active signs."""

    PREPARED = "prepared"
    ACTIVE = "active"
    OLD = "old"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRow:
    """One authority. `public`: its certificates as PEM, its own first (above an imported one may be more), or for a JWT key its JWK.

    `activated` None: never yet. `last_expiry`: the latest end of what it is known to have signed; None: nothing is.
    """

    id: str
    kind: Kind
    slot: Slot
    public: str
    created: datetime
    parent: str = ""
    activated: datetime | None = None
    last_expiry: datetime | None = None


def read_authorities(state: State) -> tuple[AuthorityRow, ...]:
    """All, the oldest first."""
    return tuple(_read(row) for row in state.rows(_SELECT))


def write_authorities(rows: Sequence[AuthorityRow]) -> Write:
    """These rows are as given afterwards, whatever they were before."""
    return Write("INSERT OR REPLACE INTO authorities VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_row(each) for each in rows])


def _row(row: AuthorityRow) -> Row:
    times = (milliseconds(row.created), _optional(row.activated), _optional(row.last_expiry))
    return (row.id, row.kind.value, row.slot.value, row.public, row.parent, *times)


def _optional(when: datetime | None) -> int:
    return 0 if when is None else milliseconds(when)


def _read(row: Row) -> AuthorityRow:
    identifier, kind, slot, public, parent, created, activated, last_expiry = row
    return AuthorityRow(
        id=str(identifier),
        kind=Kind(str(kind)),
        slot=Slot(str(slot)),
        public=str(public),
        parent=str(parent),
        created=moment(int(created or 0)),
        activated=moment(int(activated)) if activated else None,
        last_expiry=moment(int(last_expiry)) if last_expiry else None,
    )
