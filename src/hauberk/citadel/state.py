"""The authority's memory: one SQLite file, `citadel.db`, in the directory of its keys. Keys themselves are never in it.

Who needs a table of his own writes a module `state_<noun>.py` with the table's `Table` and its typed rows, and adds one line to
`TABLES` in `state_tables`. Nothing else: a mesh that lacks the table gets it when it is opened, one whose table is older is brought
up to date by the table's `upgrades`. Reading (`rows`) is for the opening, when what is needed is taken into memory, and for what
people ask; writing (`commit`, or `write` from the event loop) returns when it is on disk.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from hauberk.kit.durable import NotKept

PATIENCE = 1.0  # seconds for which a file in use is waited for: who ends may still be writing
APPLICATION_ID: Final = 0x48424B32  # "HBK2": another file is never mistaken for this one

Value = str | int | bytes | None
Row = tuple[Value, ...]

_TABLES = "CREATE TABLE tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID"


class StateUnusable(NotKept):
    """The database cannot be opened or written; `hint` says what to do."""

    def __init__(self, path: Path, reason: str, hint: str) -> None:
        super().__init__(f"the certificate authority cannot use {path}: {reason}")
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table (with its indexes): `create` makes the newest `version`, `upgrades[n]` makes version n + 1 of version n."""

    name: str
    create: tuple[str, ...]
    version: int = 1
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write:
    """A statement and the rows it is to be executed with."""

    sql: str
    rows: Sequence[Row] = ((),)


class State:
    """The open database. `rows` from any thread; writes are in the order they were asked for, each whole or not at all."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="citadel-state")

    @classmethod
    def open(cls, path: Path, tables: Sequence[Table]) -> Self:
        """The database at `path`, which has every one of `tables` afterwards; raises StateUnusable."""
        try:
            # Before SQLite makes it with the mode of the process's umask.
            path.touch(mode=0o600)
            path.chmod(0o600)
            connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                _prepare(path, connection, tables)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as exc:
            raise _told(path, exc) from exc
        return cls(path, connection)

    def rows(self, sql: str, *parameters: Value) -> list[Row]:
        """What a SELECT finds."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as exc:
                raise _told(self.path, exc) from exc

    def commit(self, *writes: Write) -> None:
        """All of `writes` are on disk, or (with StateUnusable) none. Blocks: for the opening and for threads of one's own."""
        with self._lock:
            execute = self._connection.execute
            try:
                execute("BEGIN IMMEDIATE")
                try:
                    for write in writes:
                        self._connection.executemany(write.sql, write.rows)
                    execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        execute("ROLLBACK")
                    raise
            except sqlite3.Error as exc:
                raise _told(self.path, exc) from exc

    async def write(self, *writes: Write) -> None:
        """As `commit`, while the event loop goes on. Cancelling the caller does not undo what has begun."""
        # Shielded: what waits in the queue of the one writer would otherwise be dropped, and memory say more than the disk.
        await asyncio.shield(self.begin(lambda: self.commit(*writes)))

    def begin(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """`work`, which may block, is done by the one thread that writes, after all that was begun before."""
        return asyncio.get_running_loop().run_in_executor(self._writer, work)

    def close(self) -> None:
        """Everything asked for is written and the file is released."""
        self._writer.shutdown()
        with self._lock:
            self._connection.close()


def _prepare(path: Path, connection: sqlite3.Connection, tables: Sequence[Table]) -> None:
    execute = connection.execute
    # Exclusive: a second control plane must fail at start, and not overwrite what this one keeps in memory. Before the first read:
    # later, SQLite would have made a file for memory that is shared, and a full disk could not be opened.
    execute("PRAGMA locking_mode = EXCLUSIVE")
    owner, objects = _number(connection, "PRAGMA application_id"), _number(connection, "SELECT count(*) FROM sqlite_master")
    if owner != APPLICATION_ID and (owner or objects):
        raise StateUnusable(path, "it is not a database of the certificate authority", "move it away, or restore the right one")
    execute("PRAGMA journal_mode = WAL")
    # FULL: an acknowledged write survives a power cut, not only the end of the process.
    execute("PRAGMA synchronous = FULL")
    execute("BEGIN IMMEDIATE")
    # Nothing is written that is there already: on a full disk, what was made before can still be opened.
    if owner != APPLICATION_ID:
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(_TABLES)
    found = {str(name): int(version) for name, version in execute("SELECT name, version FROM tables")}
    for table in tables:
        if found.get(table.name) != table.version:
            for statement in _statements(path, table, found.get(table.name)):
                execute(statement)
            execute("INSERT OR REPLACE INTO tables VALUES (?, ?)", (table.name, table.version))
    execute("COMMIT")


def _statements(path: Path, table: Table, found: int | None) -> tuple[str, ...]:
    """What brings `table` from version `found` (None: there is none) to its newest."""
    if found is None:
        return table.create
    if found > table.version:
        reason = f"its table {table.name} has version {found}, this Hauberk knows {table.version} at most"
        raise StateUnusable(path, reason, "use the Hauberk that wrote it")
    return tuple(statement for version in range(found, table.version) for statement in table.upgrades[version])


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _told(path: Path, error: sqlite3.Error | OSError) -> StateUnusable:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StateUnusable(path, "another control plane has it open", "stop it first (`hauberk down`)")
    if "full" in text or "No space" in text:
        return StateUnusable(path, "the disk is full", "free some space; nothing acknowledged was lost")
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return StateUnusable(path, "it cannot be written", "check owner and mode of the state directory")
    return StateUnusable(path, text, "restore it from a backup; the keys beside it are enough to go on without it, if it is moved away")
