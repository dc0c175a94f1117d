"""The objects of a mesh on one machine: typed in memory, durable in SQLite, watchable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar, cast
from uuid import uuid4

from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.sources.change import Change, Entry, Event, Listing
from hauberk.sources.database import Database
from hauberk.sources.draft import Draft, Stamps
from hauberk.sources.history import Past, Version
from hauberk.sources.state import State

T = TypeVar("T")
Typed = TypeVar("Typed", bound=ApiObject)

HISTORY = 1_000  # deleted objects remembered for watches that resume; a pod's takes some 15 kB of memory


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # Kubernetes' timestamps have whole seconds


def _make_uid() -> str:
    return str(uuid4())


def _moment() -> datetime:
    return datetime.now(UTC)


STAMPS = Stamps(_now, _make_uid)


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """What a transaction returned, and the revision at which all of it is visible."""

    value: T
    revision: int


@dataclass(slots=True)
class _Waiting:
    decide: Callable[[Draft], object]
    author: str
    done: asyncio.Future[Committed[object]]


_Decided = tuple[_Waiting, Committed[object]]


class Store:
    """One writer, many readers, one event loop.

    Reading is plain and immediate: it sees what is durable. Writing is a function that gets a Draft and changes it; whatever
    waits while the disk is busy becomes durable together in one synchronous write, and visible together after it.
    """

    def __init__(self, path: Path, *, history: int = HISTORY, stamps: Stamps = STAMPS, moment: Callable[[], datetime] = _moment) -> None:
        self._database = Database(path)
        self._stamps = stamps
        self._moment = moment
        self._state = State(history=history)
        self._state.absorb(self._database.entries())
        self._state.revision = self._database.mark("revision")
        self._state.compacted = self._database.mark("compacted")
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._writing = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._watchers: set[asyncio.Event] = set()

    @property
    def revision(self) -> int:
        """The latest revision that is durable and visible."""
        return self._state.revision

    def get(self, key: ObjectKey) -> ApiObject | None:
        """The object of a key, if there is one."""
        entry = self._state.entry(key)
        return None if entry is None else entry.object

    def find(self, model: type[Typed], namespace: str, name: str) -> Typed | None:
        """The object of a kind by name, typed."""
        return cast("Typed | None", self.get(ObjectKey(model.__name__, namespace, name)))

    def list(self, kind: str | None = None, namespace: str | None = None) -> Listing:
        """The objects of a kind (or of all), of one namespace (or of all)."""
        kinds = self._state.kinds() if kind is None else (kind,)
        items = self._state.objects(kinds[0]) if len(kinds) == 1 else tuple(item for each in kinds for item in self._state.objects(each))
        if namespace is not None:
            items = tuple(item for item in items if item.metadata.namespace == namespace)
        return Listing(items, self._state.revision)

    def of(self, model: type[Typed]) -> tuple[Typed, ...]:
        """All objects of a kind, typed; the very same tuple until one of them changes."""
        return cast("tuple[Typed, ...]", self._state.objects(model.__name__))

    async def commit(self, changes: Sequence[Change]) -> int:
        """All changes are durable; returns the revision that shows them. Raises Conflict when one expected another version."""
        return (await self.transact(lambda draft: draft.apply(changes))).revision

    async def transact(self, decide: Callable[[Draft], T], *, author: str = "") -> Committed[T]:
        """What `decide` did to the draft is durable and visible; what it raises is raised here, and nothing of it happened.

        `decide` sees every change made before it and no other comes between; it must not wait. `author` is remembered with it; empty
        is the mesh itself.
        """
        waiting = _Waiting(decide, author, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        # A task of its own: a caller who is cancelled while the disk works must not leave memory behind the file.
        flush = asyncio.create_task(self._flush(), name="store:flush")
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)
        return cast("Committed[T]", await waiting.done)

    def rehearse(self, decide: Callable[[Draft], T]) -> T:
        """What `decide` returns, without any of its changes happening."""
        return decide(Draft(self._state, self._stamps))

    async def _flush(self) -> None:
        async with self._writing:
            batch, self._waiting = [waiting for waiting in self._waiting if not waiting.done.done()], []
            draft, decided = self._decide(batch)
            try:
                await self._write(draft.entries())
            except Exception as error:
                for waiting, _ in decided:
                    _settle(waiting.done, error)
            else:
                for waiting, committed in decided:
                    _settle(waiting.done, committed)

    def _decide(self, batch: Iterable[_Waiting]) -> tuple[Draft, tuple[_Decided, ...]]:
        draft = Draft(self._state, self._stamps)
        decided: tuple[_Decided, ...] = ()
        for waiting in batch:
            attempt = draft.fork(author=waiting.author)
            try:
                value = waiting.decide(attempt)
            except Exception as error:
                _settle(waiting.done, error)
            else:
                draft = attempt
                decided += ((waiting, Committed(value, draft.revision)),)
        return draft, decided

    async def _write(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            return
        forget = self._state.surplus(entries)
        compacted = self._state.compacted_after(forget)
        loop = asyncio.get_running_loop()
        now = self._moment()
        await loop.run_in_executor(self._disk, lambda: self._database.write(entries, forget=forget, compacted=compacted, now=now))
        self._state.forget(forget)
        self._state.absorb(entries)
        for watcher in self._watchers:
            watcher.set()

    async def past(self, moment: datetime) -> Past:
        """The objects that matter to decisions, as they were at that moment."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, self._database.past, moment)

    async def versions(
        self, kind: str | None = None, namespace: str | None = None, name: str | None = None, *, limit: int = 100
    ) -> tuple[Version, ...]:
        """The latest versions of the objects that are asked for, newest first."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, self._database.versions, kind, namespace, name, limit)

    def present(self, kinds: Collection[str] | None = None) -> tuple[Event, ...]:
        """All there is, as news to somebody who knows nothing; in order of revision, so that half of it can be resumed from."""
        return self._state.present(None if kinds is None else frozenset(kinds))

    def events_since(self, revision: int, kinds: Collection[str] | None = None) -> tuple[Event, ...]:
        """What happened after a revision, several changes to one object melted into its latest state; raises ResumeTooOld."""
        return self._state.events_since(revision, None if kinds is None else frozenset(kinds))

    async def beyond(self, revision: int) -> int:
        """The store's revision as soon as it is later than the given one."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while self._state.revision <= revision:
                changed.clear()
                await changed.wait()
        finally:
            self._watchers.discard(changed)
        return self._state.revision

    async def subscribe(self, kinds: Collection[str] | None = None, since: int | None = None) -> AsyncIterator[tuple[Event, ...]]:
        """What happens to objects of these kinds, all that came together in one tuple; without `since` first all there are.

        Each tuple is everything since the last one. Raises ResumeTooOld when the watcher was away too long.
        """
        wanted = None if kinds is None else frozenset(kinds)
        seen = since
        if seen is None:
            seen = self.revision
            yield self.present(wanted)
        while True:
            events, seen = self.events_since(seen, wanted), self.revision
            if events:
                yield events
            await self.beyond(seen)

    async def watch(self, since: int | None = None, kinds: Collection[str] | None = None) -> AsyncIterator[Event]:
        """The same, event by event: each carries the revision to resume from after it."""
        async for events in self.subscribe(kinds, since):
            for event in events:
                yield event

    async def close(self) -> None:
        """Everything that was asked for is written, and the file is released."""
        while self._flushes:
            await asyncio.gather(*self._flushes, return_exceptions=True)
        self._disk.shutdown()
        self._database.close()


def _settle(future: asyncio.Future[Committed[object]], outcome: Committed[object] | Exception) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
