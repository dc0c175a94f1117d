"""The rows of revocations: what is not believed any more, until when, by whose word and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hauberk.citadel.state import Row, State, Table, Write
from hauberk.identity.wire import milliseconds, moment

REVOCATIONS: Final = Table(
    name="revocations",
    create=(
        """CREATE TABLE revocations (
            what TEXT NOT NULL, value TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL,
            made_by TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (what, value)
        ) STRICT, WITHOUT ROWID""",
    ),
)


class What(StrEnum):
    """What is revoked: one certificate; every certificate of an identity; every certificate of a pod. (Machines are banned instead.)"""

    SERIAL = "serial"
    IDENTITY = "identity"
    POD = "pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRow:
    """One revocation. `value`: a serial (32 hexadecimal digits), a SPIFFE ID, or the uid of a pod; `name`: as people say it.

    `until` None: for ever, or until it is undone. `by`: who asked for it.
    """

    what: What
    value: str
    name: str
    at: datetime
    by: str
    reason: str = ""
    until: datetime | None = None

    @property
    def told(self) -> str:
        """The revocation in the words of a refusal."""
        subject = {
            What.SERIAL: f"certificate {self.value}",
            What.IDENTITY: f"identity {self.value}",
            What.POD: f"pod {self.name}",
        }[self.what]
        return f"{subject} was revoked at {self.at:%Y-%m-%d %H:%M:%S} UTC" + (f": {self.reason}" if self.reason else "")


def read_revocations(state: State) -> tuple[RevocationRow, ...]:
    """All, the oldest first."""
    return tuple(map(_read, state.rows("SELECT what, value, name, at, until, made_by, reason FROM revocations ORDER BY at, what, value")))


def write_revocation(row: RevocationRow) -> Write:
    """It is revoked."""
    times = (milliseconds(row.at), milliseconds(row.until) if row.until else 0)
    values = (row.what.value, row.value, row.name, *times, row.by, row.reason)
    return Write("INSERT OR REPLACE INTO revocations VALUES (?, ?, ?, ?, ?, ?, ?)", [values])


def forget_revocations(rows: Sequence[RevocationRow]) -> Write:
    """These are not revoked."""
    return Write("DELETE FROM revocations WHERE what = ? AND value = ?", [(row.what.value, row.value) for row in rows])


def _read(row: Row) -> RevocationRow:
    what, value, name, at, until, by, reason = row
    return RevocationRow(
        what=What(str(what)),
        value=str(value),
        name=str(name),
        at=moment(int(at or 0)),
        until=moment(int(until)) if until else None,
        by=str(by),
        reason=str(reason),
    )
