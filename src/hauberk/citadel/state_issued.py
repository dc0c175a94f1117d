"""The rows of issued certificates: who holds which, until when. Kept until they have expired, and a little longer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hauberk.citadel.state import Row, State, Table, Value, Write
from hauberk.identity.wire import milliseconds, moment

_BY_IDENTITY: Final = "CREATE INDEX issued_by_identity ON issued (spiffe_id, not_after)"
ISSUED: Final = Table(
    name="issued",
    create=(
        """CREATE TABLE issued (
            serial TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, holder TEXT NOT NULL, node TEXT NOT NULL, authority TEXT NOT NULL,
            not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, revoked_at INTEGER NOT NULL, reason TEXT NOT NULL,
            evidence TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX issued_by_holder ON issued (holder, not_after)",
        "CREATE INDEX issued_by_end ON issued (not_after)",
        _BY_IDENTITY,
    ),
    version=2,
    upgrades={1: (_BY_IDENTITY,)},
)
# A revocation of something that has just expired must still find it, and people ask about yesterday.
KEPT_AFTER_EXPIRY: Final = timedelta(hours=24)
_ROWS_AT_ONCE: Final = 64
_COLUMNS = "serial, spiffe_id, holder, node, authority, not_before, not_after, revoked_at, reason, evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedRow:
    """One certificate. `holder`: `pod NS/NAME UID`, `entry NAME`, `agent NODE`, or `outside BY`, who is on no `node`.

    `serial`: 32 hexadecimal digits.
    """

    serial: str
    spiffe_id: str
    holder: str
    node: str
    authority_id: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    reason: str = ""
    evidence: str = "{}"  # JSON: what its holder was attested by


def write_issued(rows: Sequence[IssuedRow]) -> tuple[Write, ...]:
    """These certificates are known. A serial that there is already is an error: it would be two certificates."""
    # Many rows a statement: for each statement SQLite's thread waits until Python lets it go on, and that is most of its time.
    return tuple(_insert(rows[begin : begin + _ROWS_AT_ONCE]) for begin in range(0, len(rows), _ROWS_AT_ONCE))


def _insert(rows: Sequence[IssuedRow]) -> Write:
    places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(rows))
    return Write(f"INSERT INTO issued VALUES {places}", [tuple(value for row in rows for value in _row(row))])  # noqa: S608 - marks only


def write_revoked(serial: str, at: datetime, reason: str) -> Write:
    """The certificate is marked as revoked, unless it was before."""
    return Write("UPDATE issued SET revoked_at = ?, reason = ? WHERE serial = ? AND revoked_at = 0", [(milliseconds(at), reason, serial)])


def write_unrevoked(serial: str) -> Write:
    """The certificate is not marked as revoked."""
    return Write("UPDATE issued SET revoked_at = 0, reason = '' WHERE serial = ?", [(serial,)])


def prune_issued(now: datetime) -> Write:
    """What expired long ago is forgotten."""
    return Write("DELETE FROM issued WHERE not_after < ?", [(milliseconds(now - KEPT_AFTER_EXPIRY),)])


def read_issued(state: State, *, serial: str) -> IssuedRow | None:
    """The certificate of that serial."""
    found = state.rows(f"SELECT {_COLUMNS} FROM issued WHERE serial = ?", serial)  # noqa: S608 - a constant
    return _read(found[0]) if found else None


def read_issued_to(state: State, *, holder_prefix: str) -> tuple[IssuedRow, ...]:
    """Certificates of holders that begin so, the latest to expire first."""
    # A range, not LIKE: a name may hold an underscore, which LIKE takes for any letter.
    where = "WHERE holder >= ? AND holder < ? ORDER BY not_after DESC, not_before DESC"
    return _select(state, where, holder_prefix, holder_prefix + chr(0x10FFFF))


def read_issued_of(state: State, *, spiffe_id: str) -> tuple[IssuedRow, ...]:
    """Certificates of one identity, the latest to expire first."""
    return _select(state, "WHERE spiffe_id = ? ORDER BY not_after DESC, not_before DESC", spiffe_id)


def read_living(state: State, now: datetime, authority_ids: Sequence[str]) -> tuple[IssuedRow, ...]:
    """Certificates signed by one of these authorities that are neither expired nor revoked."""
    marks = ",".join("?" * len(authority_ids))
    where = f"WHERE authority IN ({marks}) AND not_after > ? AND revoked_at = 0 ORDER BY not_after"
    return _select(state, where, *authority_ids, milliseconds(now))


def read_living_nodes(state: State, now: datetime) -> dict[str, datetime]:
    """Machines that hold living certificates, and until when; what is outside the mesh is on none."""
    rows = state.rows(
        "SELECT node, max(not_after) FROM issued WHERE node <> '' AND not_after > ? AND revoked_at = 0 GROUP BY node", milliseconds(now)
    )
    return {str(node): moment(int(end or 0)) for node, end in rows}


def count_holders(state: State, now: datetime) -> int:
    """How many on the mesh's machines hold living certificates."""
    query = "SELECT count(DISTINCT holder) FROM issued WHERE node <> '' AND not_after > ? AND revoked_at = 0"
    return int(state.rows(query, milliseconds(now))[0][0] or 0)


def count_living(state: State, now: datetime) -> dict[str, tuple[int, datetime]]:
    """For each authority how many of its certificates live, and when the last of them ends."""
    query = "SELECT authority, count(*), max(not_after) FROM issued WHERE not_after > ? AND revoked_at = 0 GROUP BY authority"
    return {str(one): (int(number or 0), moment(int(end or 0))) for one, number, end in state.rows(query, milliseconds(now))}


def _select(state: State, where: str, *parameters: Value) -> tuple[IssuedRow, ...]:
    return tuple(_read(row) for row in state.rows(f"SELECT {_COLUMNS} FROM issued {where}", *parameters))  # noqa: S608 - constants


def _row(row: IssuedRow) -> Row:
    times = (milliseconds(row.not_before), milliseconds(row.not_after), milliseconds(row.revoked_at) if row.revoked_at else 0)
    return (row.serial, row.spiffe_id, row.holder, row.node, row.authority_id, *times, row.reason, row.evidence)


def _read(row: Row) -> IssuedRow:
    serial, spiffe_id, holder, node, authority, not_before, not_after, revoked_at, reason, evidence = row
    return IssuedRow(
        serial=str(serial),
        spiffe_id=str(spiffe_id),
        holder=str(holder),
        node=str(node),
        authority_id=str(authority),
        not_before=moment(int(not_before or 0)),
        not_after=moment(int(not_after or 0)),
        revoked_at=moment(int(revoked_at)) if revoked_at else None,
        reason=str(reason),
        evidence=str(evidence),
    )
