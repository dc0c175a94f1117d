"""Where access records are kept: the last million in SQLite, on bounded disk.

A record is stored as the line its sidecar wrote. What queries select by stands beside the lines, packed, a block of records in one
row: an index with one entry a record would cost more than all the rest, because it is written to at a thousand places at once. Who
speaks with whom, and the beginning of the line that says so, is stored once: a mesh has few of them.
"""

import heapq
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from hauberk.telemetry.block import Row, RowValues, hash_request_id, join_lines, needle, pack_rows, read_rows, split_lines
from hauberk.telemetry.entry import Between, Entry, whole_line
from hauberk.telemetry.record import Party

_SCHEMA_VERSION = 3
# In a block the lines come last: a search reads the beginning of a row only.
_SCHEMA = """
CREATE TABLE betweens(id INTEGER PRIMARY KEY, head BLOB NOT NULL, source TEXT NOT NULL, destination TEXT NOT NULL);
CREATE TABLE positions(file TEXT PRIMARY KEY, inode INTEGER NOT NULL, offset INTEGER NOT NULL);
CREATE TABLE blocks(
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, newest INTEGER NOT NULL, denied INTEGER NOT NULL,
    rows BLOB NOT NULL, lines BLOB NOT NULL);
CREATE INDEX blocks_newest ON blocks(newest);
CREATE INDEX blocks_denied ON blocks(newest) WHERE denied;
"""
# Not synchronous: records that a power cut takes are no loss; the file stays whole all the same.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-8000", "journal_size_limit=16777216", "temp_store=MEMORY")
_INSERT = "INSERT OR REPLACE INTO blocks(id, number, newest, denied, rows, lines) VALUES(?,?,?,?,?,?)"
_INSERT_BETWEEN = "INSERT INTO betweens(id, head, source, destination) VALUES(?,?,?,?)"
_INSERT_POSITION = "INSERT OR REPLACE INTO positions(file, inode, offset) VALUES(?,?,?)"
# Bytes of lines below which the last block is written again with what comes next; more would be more writing than it saves.
_SMALL_BLOCK = 32 << 10
_OF_DEPLOYMENT = re.compile(
    r"(.+)-(?=[a-z]*\d)[a-z0-9]{8,10}-[a-z0-9]{5}"
)  # its template's hash (never without a digit in practice), then chance
_PRUNE_SHARE = 50  # records are forgotten in steps of a fiftieth, so that forgetting is rare and never long


class _Key(NamedTuple):
    """What of a line is stored once."""

    head: bytes
    source: Party
    destination: Party


class Position(NamedTuple):
    """How far a file, which `inode` tells from its successors of the same name, has been read."""

    file: str
    inode: int
    offset: int


class Kept(NamedTuple):
    """A stored line and its parties."""

    source: Party
    destination: Party
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept; whichever is reached first decides."""

    records: int = 1_000_000
    # A million lines of ordinary length with their indexes take about two thirds of this.
    disk_bytes: int = 1 << 30
    # Pairs of parties. Strangers of ever new addresses must fill neither the disk nor the memory.
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A query in the store's own numbers; None is any."""

    since: int
    between: frozenset[int] | None
    denied: bool
    request: int | None

    @property
    def condition(self) -> tuple[str, list[object]]:
        """What a block must fulfil to hold a wanted record, in SQL, with its values."""
        conditions: list[str] = ["newest >= ?"]
        values: list[object] = [self.since]
        if self.denied:
            conditions.append("denied")
        if self.request is not None:
            conditions.append("instr(rows, ?)")
            values.append(needle(self.request))
        return " AND ".join(conditions), values

    def chosen(self, packed: bytes) -> Iterator[tuple[int, Row]]:
        """The wanted rows of a block, with their places in it."""
        for place, row in enumerate(read_rows(packed)):
            if (
                row.time >= self.since
                and (row.denied or not self.denied)
                and (self.request is None or row.request == self.request)
                and (self.between is None or row.between in self.between)
            ):
                yield place, row


class RecordStore:
    """The ring of records in one file. One thread at a time may use it."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._numbers: dict[_Key, int] = {}
        self._named: dict[int, _Key] = {}
        self._met: dict[Between, tuple[int, bool]] = {}  # numbers, and whether the head is kept with them, found without a long look
        self._strangers = 0  # pairs met since those that no record names were forgotten
        self._load_betweens()
        number, last = connection.execute("SELECT total(number), max(id) FROM blocks").fetchone()
        self._count = int(number)
        self._last: int = last or 0

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
        return self._count

    def append(self, entries: Sequence[Entry], positions: Sequence[Position] = ()) -> None:
        """`entries` and how far their files were read are kept, all or none, and the oldest beyond the limits no longer."""
        last = self._last
        try:
            with self._connection:
                self._connection.executemany(_INSERT_POSITION, positions)
                if entries:
                    last = self._write(*self._rows(entries))
        except sqlite3.Error:
            self._load_betweens()  # those met in this batch were rolled back with it
            raise
        self._last = last
        self._count += len(entries)
        self._prune()

    def query(self, query: RecordQuery) -> list[Kept]:
        """The newest records that `query` wants, oldest of them first."""
        # Each as (time, block, place in the block, between whom): among equal times the later arrival is the newer one.
        found: list[tuple[int, int, int, int]] = []
        wanted = self._wanted(query)
        for number, newest, packed in self._candidates(wanted):
            if len(found) == query.limit and newest <= found[0][0]:
                break
            for place, row in wanted.chosen(packed):
                item = (row.time, number, place, row.between)
                if len(found) < query.limit:
                    heapq.heappush(found, item)
                else:
                    heapq.heappushpop(found, item)
        lines = self._lines({block for _, block, *_ in found})
        kept = (self._kept(between, lines[block][place]) for _, block, place, between in sorted(found))
        # Different ids may have one hash.
        return [each for each in kept if query.request_id is None or query.request_id.encode(errors="replace") in each.line]

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

    def _write(self, rows: Sequence[RowValues], lines: Sequence[bytes]) -> int:
        """The number of the block that they are in: the last one, while it is small, or a new one."""
        few = max(self._limits.records // _PRUNE_SHARE, 1)
        statement = "SELECT number, rows, lines FROM blocks WHERE id = ? AND number < ? AND length(lines) < ?"
        small = self._connection.execute(statement, (self._last, few, _SMALL_BLOCK)).fetchone()
        number = self._last if small else self._last + 1
        if small:
            rows, lines = [*read_rows(small[1]), *rows], [*split_lines(small[2]), *lines]
        newest, denied = max(row[0] for row in rows), any(row[3] for row in rows)
        self._connection.execute(_INSERT, (number, len(rows), newest, denied, pack_rows(rows), join_lines(lines)))
        return number

    def _rows(self, entries: Sequence[Entry]) -> tuple[list[RowValues], list[bytes]]:
        rows: list[RowValues] = []
        lines: list[bytes] = []
        met = self._met
        for entry in entries:
            between, time, denied, _, _, request_id, rest = entry
            number, with_head = met.get(between) or self._meet(between)
            rows.append((time, number, hash_request_id(request_id), denied))
            lines.append(rest if with_head else entry.line)
        return rows, lines

    def _candidates(self, wanted: "_Wanted") -> Iterator[tuple[int, int, bytes]]:
        """Number, newest time and rows of the blocks that may hold what is wanted, the newest first."""
        condition, values = wanted.condition
        statement = f"SELECT id, newest, rows FROM blocks WHERE {condition} ORDER BY newest DESC, id DESC"  # noqa: S608 - this module's texts
        return iter(self._connection.execute(statement, values))

    def _wanted(self, query: RecordQuery) -> "_Wanted":
        request = None if query.request_id is None else hash_request_id(query.request_id.encode(errors="replace"))
        return _Wanted(query.since or 0, self._between(query.source, query.destination), query.denied, request)

    def _between(self, source: str | None, destination: str | None) -> frozenset[int] | None:
        if source is None and destination is None:
            return None
        return frozenset(number for key, number in self._numbers.items() if are_between(key.source, key.destination, source, destination))

    def _lines(self, blocks: Iterable[int]) -> dict[int, list[bytes]]:
        statement = "SELECT id, lines FROM blocks WHERE id IN (SELECT value FROM json_each(?))"
        return {number: split_lines(lines) for number, lines in self._connection.execute(statement, (json.dumps(sorted(blocks)),))}

    def _meet(self, between: Between) -> tuple[int, bool]:
        """The number of these parties, and whether the head is kept with it."""
        key = _Key(between.head, between.source, between.destination)
        if key not in self._numbers and len(self._numbers) >= self._limits.parties:
            # So many can only be strangers: they are no longer told apart by address.
            key = _Key(b"", between.source._replace(address=""), between.destination._replace(address=""))
        number = self._numbers.get(key) or self._intern(key)
        if len(self._met) >= self._limits.parties:
            self._met.clear()
        self._met[between] = number, key.head == between.head
        return self._met[between]

    def _intern(self, key: "_Key") -> int:
        number = self._numbers[key] = max(self._named, default=0) + 1
        self._named[number] = key
        self._connection.execute(_INSERT_BETWEEN, (number, key.head, json.dumps(key.source), json.dumps(key.destination)))
        self._strangers += 1
        return number

    def _kept(self, number: int, line: bytes) -> Kept:
        key = self._named.get(number) or _Key(b"", Party(), Party())
        return Kept(key.source, key.destination, whole_line(key.head, line))

    def _load_betweens(self) -> None:
        rows = self._connection.execute("SELECT id, head, source, destination FROM betweens").fetchall()
        self._named = {number: _Key(head, Party(*json.loads(source)), Party(*json.loads(to))) for number, head, source, to in rows}
        self._numbers = {key: number for number, key in self._named.items()}
        self._met.clear()

    def _prune(self) -> None:
        limits = self._limits
        if self.count > limits.records + limits.records // _PRUNE_SHARE:
            self._forget(self.count - limits.records)
        while self.count and self.disk_bytes() > limits.disk_bytes:
            self._forget(max(self.count // _PRUNE_SHARE, 1))

    def _forget(self, number: int) -> None:
        """The oldest `number` records, or a block's rest more, are gone, and the parties that no record names with them."""
        gone, oldest = 0, []
        for block, size in self._connection.execute("SELECT id, number FROM blocks ORDER BY id"):
            oldest.append((block,))
            gone += size
            if gone >= number:
                break
        with self._connection:
            self._connection.executemany("DELETE FROM blocks WHERE id = ?", oldest)
            self._forget_betweens()
        self._count -= gone

    def _forget_betweens(self) -> None:
        # Every row is read for it, so not each time.
        if len(self._numbers) < self._limits.parties // 2 or self._strangers < self._limits.parties // 4:
            return
        packed = (rows for (rows,) in self._connection.execute("SELECT rows FROM blocks"))
        used = {row.between for rows in packed for row in read_rows(rows)}
        self._connection.executemany("DELETE FROM betweens WHERE id = ?", [(number,) for number in self._named.keys() - used])
        self._strangers = 0
        self._load_betweens()

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value


def workload_of(pod: str) -> str:
    """The Deployment that a pod's name shows (`web-5d9f8c7b6a-x2x4z`), or the pod's own name."""
    found = _OF_DEPLOYMENT.fullmatch(pod)
    return found[1] if found else pod


def are_between(source: Party, destination: Party, from_name: str | None, to_name: str | None) -> bool:
    """Whether these are whom a person means; None is anybody."""
    return (from_name is None or party_matches(source, from_name)) and (to_name is None or party_matches(destination, to_name))


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
