"""The table of versions in the store's file: written in the transaction that makes them true, read for any moment, bounded."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final

from hauberk.api.document import from_json
from hauberk.api.metadata import ObjectKey
from hauberk.kit.digest import digest
from hauberk.sources.change import Entry
from hauberk.sources.history import AGE, BEFORE, SIZE, Past, Version, VersionEvent, is_recorded, microseconds, moment_of, recorded_text

# Beside the schema of version 1 and not in place of it: a Hauberk that knows no history opens the file and leaves the table alone.
SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS versions (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        event TEXT NOT NULL, author TEXT NOT NULL, revision INTEGER NOT NULL,
        since INTEGER NOT NULL, until INTEGER,
        document TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS versions_of_an_object ON versions (kind, namespace, name, since)",
    "CREATE INDEX IF NOT EXISTS versions_by_end ON versions (until)",
)
_INSERT: Final = "INSERT INTO versions (kind, namespace, name, event, author, revision, since, until, document) VALUES (?,?,?,?,?,?,?,?,?)"
_END: Final = "UPDATE versions SET until = ? WHERE kind = ? AND namespace = ? AND name = ? AND until IS NULL"
_COLUMNS: Final = "kind, namespace, name, event, author, revision, since, until, document"
_BEGINNING: Final = "history"  # the mark that says since when nothing is missing
_PRUNE_EVERY: Final = timedelta(hours=1)
_SLACK: Final = 0.9  # of the size that is left when the oldest go: a full history is pruned seldom


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction wrote; true once it is committed."""

    texts: Mapping[ObjectKey, str | None]
    size: int
    moment: datetime


@dataclass(slots=True)
class HistoryTable:
    """One thread at a time, like the connection that it is part of."""

    connection: sqlite3.Connection
    age: timedelta = AGE
    limit: int = SIZE
    _texts: dict[ObjectKey, str] = field(default_factory=dict)  # digest of the present version of each object
    _size: int = 0
    _last: datetime = BEFORE
    _pruned: datetime = BEFORE

    def open(self, entries: Iterable[Entry], now: datetime) -> None:
        """The table is there, and its present versions are the objects: what it does not know yet, it has found now.

        Within a transaction of the caller's.
        """
        fresh = not self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'versions'").fetchone()
        for statement in SCHEMA:
            self.connection.execute(statement)
        if fresh:
            self._mark(now)
        rows = self.connection.execute("SELECT kind, namespace, name, document FROM versions WHERE until IS NULL")
        self._texts = {ObjectKey(kind, namespace, name): _digest(text) for kind, namespace, name, text in rows}
        self._size, last = self.connection.execute(
            "SELECT coalesce(sum(length(document)) FILTER (WHERE until IS NOT NULL), 0), coalesce(max(since), 0) FROM versions"
        ).fetchone()
        self._last = moment_of(last)
        self.settle(self._reconcile(tuple(entries), now))

    def _reconcile(self, entries: Sequence[Entry], now: datetime) -> Written:
        """What was written by a Hauberk that keeps no history is noted as found."""
        living = [entry for entry in entries if not entry.deleted]
        gone = self._texts.keys() - {entry.object.key for entry in living}
        moment = max(now, self._last)
        for key in gone:
            self.connection.execute(_END, (microseconds(moment), *key))
        written = self.write(living, now, event=VersionEvent.FOUND)
        return Written({**dict.fromkeys(gone), **written.texts}, written.size, moment)

    def write(self, entries: Sequence[Entry], now: datetime, *, event: VersionEvent | None = None) -> Written:
        """The entries' states are versions from now on, unless nothing that matters has changed; within a transaction."""
        # A clock that was set back must not make a version end before it began.
        moment = max(now, self._last)
        texts: dict[ObjectKey, str | None] = {}
        size = 0
        for entry in entries:
            key = entry.object.key
            if not is_recorded(entry.object):
                continue
            text, known = recorded_text(entry.object), texts.get(key, self._texts.get(key))
            if entry.deleted:
                size += self._note(entry, text, VersionEvent.DELETED, moment) if known is not None else 0
                texts[key] = None
            elif _digest(text) != known:
                happened = event or (VersionEvent.CREATED if known is None else VersionEvent.CHANGED)
                size += self._note(entry, text, happened, moment)
                texts[key] = _digest(text)
        return Written(texts, size, moment)

    def _note(self, entry: Entry, text: str, event: VersionEvent, moment: datetime) -> int:
        """One version is written and the one before it has ended; the bytes that this adds to what is past, about."""
        key, at = entry.object.key, microseconds(moment)
        ended = self.connection.execute(_END, (at, *key)).rowcount
        until = at if event is VersionEvent.DELETED else None
        self.connection.execute(_INSERT, (*key, event, entry.author, entry.revision, at, until, text))
        return len(text) * (ended + (until is not None))

    def settle(self, written: Written) -> None:
        """What was written is durable."""
        for key, text in written.texts.items():
            if text is None:
                self._texts.pop(key, None)
            else:
                self._texts[key] = text
        self._size += written.size
        self._last = max(self._last, written.moment)

    def prune(self, now: datetime) -> None:
        """What ended too long ago, and the oldest of what is too much, is gone; within a transaction, cheap when there is nothing."""
        if now - self._pruned >= _PRUNE_EVERY:
            self._pruned = now
            self._forget(microseconds(now - self.age))
        if self._size > self.limit:
            surplus = self._size - int(self.limit * _SLACK)
            rows = self.connection.execute("SELECT until, length(document) FROM versions WHERE until IS NOT NULL ORDER BY until").fetchall()
            sums = accumulate(size for _, size in rows)
            self._forget(next((until for (until, _), total in zip(rows, sums, strict=True) if total >= surplus), 0))

    def _forget(self, until: int) -> None:
        """No version that ended at `until` or before it remains."""
        (latest,) = self.connection.execute("SELECT max(until) FROM versions WHERE until <= ?", (until,)).fetchone()
        if latest is None:
            return
        self.connection.execute("DELETE FROM versions WHERE until <= ?", (latest,))
        self._mark(moment_of(latest))
        (self._size,) = self.connection.execute(
            "SELECT coalesce(sum(length(document)), 0) FROM versions WHERE until IS NOT NULL"
        ).fetchone()

    def _mark(self, moment: datetime) -> None:
        statement = "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET revision = max(revision, excluded.revision)"
        self.connection.execute(statement, (_BEGINNING, microseconds(moment)))

    @property
    def beginning(self) -> datetime:
        """Since when nothing is missing."""
        found = self.connection.execute("SELECT revision FROM marks WHERE name = ?", (_BEGINNING,)).fetchone()
        return moment_of(found[0] if found else 0)

    def at(self, moment: datetime) -> Past:
        """The objects as they were at that moment."""
        when = microseconds(moment)
        rows = self.connection.execute(
            "SELECT kind, document FROM versions WHERE since <= ? AND (until IS NULL OR until > ?) ORDER BY kind, namespace, name",
            (when, when),
        )
        objects = tuple(from_json(kind, document) for kind, document in rows)
        return Past(moment, objects, moment >= self.beginning)

    def versions(self, kind: str | None, namespace: str | None, name: str | None, limit: int) -> tuple[Version, ...]:
        """The latest versions of the objects that are asked for, newest first."""
        asked = [(column, value) for column, value in (("kind", kind), ("namespace", namespace), ("name", name)) if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in asked) or "true"
        query = f"SELECT {_COLUMNS} FROM versions WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - columns of our own, values bound
        return tuple(_versions(self.connection.execute(query, (*(value for _, value in asked), limit))))


def _versions(rows: Iterable[tuple[str, str, str, str, str, int, int, int | None, str]]) -> Iterator[Version]:
    for kind, namespace, name, event, author, revision, since, until, document in rows:
        yield Version(
            key=ObjectKey(kind, namespace, name),
            event=VersionEvent(event),
            author=author,
            revision=revision,
            since=moment_of(since),
            until=None if until is None else moment_of(until),
            document=document,
        )


def _digest(text: str) -> str:
    return digest(text.encode())
