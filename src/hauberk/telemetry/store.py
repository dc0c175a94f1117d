"""Where access records are kept: the last million in SQLite, on bounded disk, indexed by what is asked for.

A record is stored as the line its sidecar wrote; only what queries select by has columns. The two parties are interned:
a mesh has few of them, and a table of numbers keeps the indexes small.
"""

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

from hauberk.telemetry.record import Party

_SCHEMA_VERSION = 1
# An index holds the columns a query needs to choose its records, so that only chosen records are read.
_SCHEMA = """
CREATE TABLE parties(id INTEGER PRIMARY KEY, identity TEXT, pod TEXT, namespace TEXT, address TEXT, service TEXT, port INTEGER);
CREATE TABLE positions(file TEXT PRIMARY KEY, inode INTEGER NOT NULL, offset INTEGER NOT NULL);
CREATE TABLE records(
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, source INTEGER NOT NULL, destination INTEGER NOT NULL,
    denied INTEGER NOT NULL, request INTEGER, line BLOB NOT NULL);
CREATE INDEX records_time ON records(time);
CREATE INDEX records_edge ON records(source, destination, time);
CREATE INDEX records_destination ON records(destination, time);
CREATE INDEX records_denied ON records(time) WHERE denied;
CREATE INDEX records_request ON records(request) WHERE request IS NOT NULL;
"""
# Not synchronous: records that a power cut takes are no loss; the file stays whole all the same.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-8000", "journal_size_limit=16777216", "temp_store=MEMORY")
_INSERT = "INSERT INTO records(id, time, source, destination, denied, request, line) VALUES(?,?,?,?,?,?,?)"
_INSERT_PARTY = "INSERT INTO parties(id, identity, pod, namespace, address, service, port) VALUES(?,?,?,?,?,?,?)"
_INSERT_POSITION = "INSERT OR REPLACE INTO positions(file, inode, offset) VALUES(?,?,?)"
_SOURCE = "source IN (SELECT value FROM json_each(?))"
_DESTINATION = "destination IN (SELECT value FROM json_each(?))"
_OF_DEPLOYMENT = re.compile(
    r"(.+)-(?=[a-z]*\d)[a-z0-9]{8,10}-[a-z0-9]{5}"
)  # its template's hash (never without a digit in practice), then chance
_PRUNE_SHARE = 50  # records are forgotten in steps of a fiftieth, so that forgetting is rare and never long


class Entry(NamedTuple):
    """A line with what it is found by; `time` is in microseconds since the epoch."""

    time: int
    source: Party
    destination: Party
    denied: bool
    request_id: str
    line: bytes


class Position(NamedTuple):
    """How far a file, which `inode` tells from its successors of the same name, has been read."""

    file: str
    inode: int
    offset: int


class Kept(NamedTuple):
    """A stored line, with its number in the order of arrival and its parties."""

    id: int
    source: Party
    destination: Party
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept; whichever is reached first decides."""

    records: int = 1_000_000
    # A million lines of ordinary length with their indexes take about two thirds of this.
    disk_bytes: int = 1 << 30
    # Strangers of ever new addresses must fill neither the disk nor the memory.
    parties: int = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuery:
    """Which records are wanted; `source` and `destination` are names as people write them, see `party_matches`."""

    since: int | None = None  # microseconds since the epoch
    source: str | None = None
    destination: str | None = None
    denied: bool = False
    request_id: str | None = None
    limit: int = 1000


class RecordStore:
    """The ring of records in one file. One thread at a time may use it."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._parties: dict[Party, int] = {}
        self._named: dict[int, Party] = {}
        self._load_parties()
        first, last = connection.execute("SELECT min(id), max(id) FROM records").fetchone()
        self._next: int = (last or 0) + 1
        self._first: int = first or self._next

    @classmethod
    def open(cls, path: Path, limits: Limits | None = None) -> Self:
        """The store in `path`. A file that is damaged or of another version is begun anew: old records are not worth a refusal."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            connection = _connect(path)
        return cls(connection, limits or Limits())

    def close(self) -> None:
        """Nothing is open afterwards."""
        self._connection.close()

    @property
    def count(self) -> int:
        """How many records are kept."""
        return self._next - self._first

    def append(self, entries: Sequence[Entry], positions: Sequence[Position] = ()) -> None:
        """`entries` and how far their files were read are kept, all or none, and the oldest beyond the limits no longer."""
        try:
            with self._connection:
                self._connection.executemany(_INSERT_POSITION, positions)
                rows = [self._row(number, entry) for number, entry in enumerate(entries, self._next)]
                self._connection.executemany(_INSERT, rows)
        except sqlite3.Error:
            self._load_parties()  # those met in this batch were rolled back with it
            raise
        self._next += len(entries)
        self._prune()

    def query(self, query: RecordQuery) -> list[Kept]:
        """The newest records that `query` wants, oldest of them first."""
        conditions, values = self._conditions(query)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        # The inner query is answered by an index alone; lines are read only of what it chose.
        chosen = f"SELECT id FROM records {where} ORDER BY time DESC LIMIT ?"  # noqa: S608 - conditions are this module's texts
        statement = f"SELECT id, source, destination, line FROM records WHERE id IN ({chosen}) ORDER BY time, id"  # noqa: S608 - likewise
        found = self._connection.execute(statement, (*values, query.limit))
        return [Kept(number, self._party(source), self._party(destination), line) for number, source, destination, line in found]

    def position(self, file: str) -> Position | None:
        """How far `file` was read."""
        found = self._connection.execute("SELECT file, inode, offset FROM positions WHERE file = ?", (file,)).fetchone()
        return Position(*found) if found else None

    def forget_position(self, file: str) -> None:
        """`file` is no more."""
        with self._connection:
            self._connection.execute("DELETE FROM positions WHERE file = ?", (file,))

    def disk_bytes(self) -> int:
        """Bytes of the file that hold something."""
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _row(self, number: int, entry: Entry) -> tuple[int, int, int, int, bool, int | None, bytes]:
        parties = self._parties
        source = parties.get(entry.source) or self._intern(entry.source)
        destination = parties.get(entry.destination) or self._intern(entry.destination)
        request = hash_request_id(entry.request_id) if entry.request_id else None
        return number, entry.time, source, destination, entry.denied, request, entry.line

    def _intern(self, party: Party) -> int:
        if len(self._parties) >= self._limits.parties:
            # So many can only be strangers: they are no longer told apart by address.
            party = party._replace(address="")
        if party not in self._parties:
            number = max(self._named, default=0) + 1
            self._connection.execute(_INSERT_PARTY, (number, *party))
            self._parties[party] = number
            self._named[number] = party
        return self._parties[party]

    def _party(self, number: int) -> Party:
        return self._named.get(number) or Party()

    def _load_parties(self) -> None:
        rows = self._connection.execute("SELECT id, identity, pod, namespace, address, service, port FROM parties").fetchall()
        self._named = {number: Party(*fields) for number, *fields in rows}
        self._parties = {party: number for number, party in self._named.items()}

    def _conditions(self, query: RecordQuery) -> tuple[list[str], list[object]]:
        conditions: list[str] = []
        values: list[object] = []
        for condition, name in ((_SOURCE, query.source), (_DESTINATION, query.destination)):
            if name is not None:
                conditions.append(condition)
                values.append(json.dumps([number for party, number in self._parties.items() if party_matches(party, name)]))
        if query.since is not None:
            conditions.append("time >= ?")
            values.append(query.since)
        if query.denied:
            conditions.append("denied")
        if query.request_id is not None:
            conditions.append("request = ?")
            values.append(hash_request_id(query.request_id))
        return conditions, values

    def _prune(self) -> None:
        limits = self._limits
        if self.count > limits.records + limits.records // _PRUNE_SHARE:
            self._forget(self._next - 1 - limits.records)
        elif self.disk_bytes() > limits.disk_bytes:
            self._forget(self._first + self.count // _PRUNE_SHARE)

    def _forget(self, last: int) -> None:
        last = min(last, self._next - 1)
        with self._connection:
            self._connection.execute("DELETE FROM records WHERE id <= ?", (last,))
            if len(self._parties) >= self._limits.parties // 2:
                used = "SELECT source FROM records UNION SELECT destination FROM records"
                self._connection.execute(f"DELETE FROM parties WHERE id NOT IN ({used})")  # noqa: S608 — both parts are ours
        self._load_parties()
        self._first = last + 1

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value


def hash_request_id(request_id: str) -> int:
    """A request id as a number of 64 bits: its index is a quarter of one over the texts."""
    return int.from_bytes(blake2b(request_id.encode(errors="replace"), digest_size=8).digest(), signed=True)


def workload_of(pod: str) -> str:
    """The Deployment that a pod's name shows (`web-5d9f8c7b6a-x2x4z`), or the pod's own name."""
    found = _OF_DEPLOYMENT.fullmatch(pod)
    return found[1] if found else pod


def party_matches(party: Party, name: str) -> bool:
    """Whether a person who writes `name` means `party`.

    `name` is a pod, the Deployment of a pod, a service or a service account, each alone, as NAME.NAMESPACE or as NAMESPACE/NAME;
    or a full host name, SPIFFE ID or address.
    """
    if name in (party.identity, party.address, party.service):
        return bool(name)
    if "/" in name:
        namespace, _, short = name.partition("/")
        return (short, namespace) in _short_names(party)
    return any(name in (short, f"{short}.{namespace}") for short, namespace in _short_names(party))


def _short_names(party: Party) -> set[tuple[str, str]]:
    names = set()
    if party.pod:
        names.add((party.pod, party.namespace))
        names.add((workload_of(party.pod), party.namespace))
    service, _, rest = party.service.partition(".")
    if service:
        names.add((service, rest.partition(".")[0]))
    identity = party.identity.split("/")
    if identity[-4::2] == ["ns", "sa"]:
        names.add((identity[-1], identity[-3]))
    return names


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        path.chmod(0o600)
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={_SCHEMA_VERSION};COMMIT;")
    elif version != _SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"the records are of version {version}")
