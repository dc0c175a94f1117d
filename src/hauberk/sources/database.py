"""The store's file: SQLite with a write-ahead log, one writer, durable before a write returns."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from hauberk.api.document import from_json, to_json
from hauberk.sources.change import Entry
from hauberk.sources.history import Past, Version
from hauberk.sources.history_table import HistoryTable
from hauberk.sources.problems import StoreBusy, StoreError, StoreUnreadable, StoreUnwritable, StoreVersionUnknown

APPLICATION_ID = 0x48424B31  # "HBK1": a file of somebody else's is never mistaken for ours
SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE entries (
    uid TEXT PRIMARY KEY,
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    created INTEGER NOT NULL, revision INTEGER NOT NULL, deleted INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_living_object_per_name ON entries (kind, namespace, name) WHERE NOT deleted;
CREATE TABLE marks (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO marks VALUES ('revision', 0), ('compacted', 0);
"""
WRITE = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
MARK = "UPDATE marks SET revision = ? WHERE name = ?"

PATIENCE = 1.0  # seconds for which a file in use is waited for: who ends may still be writing


class Database:
    """One open file. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _telling(path, opening=True):
            self._connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self._history = HistoryTable(self._connection)
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        # Exclusive: a second control plane must fail at start and not overwrite what this one keeps in memory.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        self._check_version()
        execute("PRAGMA journal_mode = WAL")
        # FULL: an acknowledged write survives a power cut, not only the end of the process.
        execute("PRAGMA synchronous = FULL")
        execute("BEGIN IMMEDIATE")
        if self._number("PRAGMA user_version") == 0:
            self._create()
        self._found = tuple(self._entries())
        self._history.open(self._found, datetime.now(UTC))
        execute("COMMIT")
        self.path.chmod(0o600)

    def _check_version(self) -> None:
        found, owner = self._number("PRAGMA user_version"), self._number("PRAGMA application_id")
        tables = self._number("SELECT count(*) FROM sqlite_master")
        if owner != APPLICATION_ID and (tables or owner or found):
            raise StoreUnreadable(
                "the file is not a store of Hauberk's", path=self.path, hint="move it away, or use another state directory"
            )
        if found not in (0, SCHEMA_VERSION):
            raise StoreVersionUnknown(
                f"the store has schema version {found}, this Hauberk knows version {SCHEMA_VERSION} only",
                path=self.path,
                hint="use the Hauberk that wrote it; or, to begin anew without its objects, `hauberk down --purge`",
            )

    def _create(self) -> None:
        for statement in SCHEMA.split(";"):
            self._connection.execute(statement)
        self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    def mark(self, name: str) -> int:
        """A revision that is kept by name: `revision` (the last one given) or `compacted`."""
        with _telling(self.path, opening=True):
            return int(self._connection.execute("SELECT revision FROM marks WHERE name = ?", (name,)).fetchone()[0])

    def entries(self) -> Iterator[Entry]:
        """Every entry in order of its last change."""
        # Opening has read them already; what is kept in memory from then on is the store's business.
        found, self._found = self._found, ()
        with _telling(self.path, opening=True):
            yield from found or self._entries()

    def _entries(self) -> Iterator[Entry]:
        rows = self._connection.execute("SELECT kind, document, created, revision, deleted FROM entries ORDER BY revision")
        for kind, document, created, revision, deleted in rows:
            yield Entry(from_json(kind, document), created, revision, bool(deleted))

    def write(self, entries: Sequence[Entry], *, forget: Collection[str], compacted: int, now: datetime) -> None:
        """All of it is durable, with the versions that it makes, or (with StoreUnwritable) none of it."""
        with _telling(self.path, opening=False):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("DELETE FROM entries WHERE uid = ?", [(uid,) for uid in forget])
                # The ended before the living: their name must be free when it is taken anew.
                self._connection.executemany(WRITE, [_row(entry) for entry in sorted(entries, key=lambda entry: not entry.deleted)])
                self._connection.executemany(MARK, [(entries[-1].revision, "revision"), (compacted, "compacted")])
                written = self._history.write(entries, now)
                self._history.prune(now)
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
            self._history.settle(written)

    def past(self, moment: datetime) -> Past:
        """The objects that matter to decisions, as they were at that moment."""
        with _telling(self.path, opening=True):
            return self._history.at(moment)

    def versions(self, kind: str | None, namespace: str | None, name: str | None, limit: int) -> tuple[Version, ...]:
        """The latest versions of the objects that are asked for, newest first."""
        with _telling(self.path, opening=True):
            return self._history.versions(kind, namespace, name, limit)

    def close(self) -> None:
        """The file is released."""
        self._connection.close()


def _row(entry: Entry) -> tuple[object, ...]:
    key = entry.object.key
    fixed = (entry.object.metadata.uid, key.kind, key.namespace, key.name)
    return (*fixed, entry.created, entry.revision, int(entry.deleted), to_json(entry.object))


@contextmanager
def _telling(path: Path, *, opening: bool) -> Iterator[None]:
    """SQLite's errors leave as ours, which say what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _told(error, path, opening=opening) from error
    except ValueError as error:
        raise StoreUnreadable(f"an object in the store cannot be read: {error}", path=path, hint="use the Hauberk that wrote it") from error


def _told(error: sqlite3.Error | OSError, path: Path, *, opening: bool) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreBusy("another control plane has the store open", path=path, hint="stop it first (`hauberk down`)")
    if "full" in text or "No space" in text:
        return StoreUnwritable(
            "the disk is full", path=path, hint="free some space; nothing acknowledged was lost, and the change can be tried again"
        )
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return StoreUnwritable("the store cannot be written", path=path, hint="check owner and mode of the state directory")
    if opening:
        return StoreUnreadable(
            f"the store cannot be read ({text})", path=path, hint="restore it from a copy, or begin anew with `hauberk down --purge`"
        )
    return StoreUnwritable(f"the change could not be written ({text})", path=path, hint="check the disk; nothing acknowledged was lost")
