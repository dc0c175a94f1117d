"""The access records of this machine: read from the files its sidecars write, kept, counted, and handed to who follows them.

A sidecar never waits for this: it writes to its own file, and what comes too fast is given up here, and counted.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

from hauberk.agent.envoy_admin import AdminUnreachable, EnvoyAdmin
from hauberk.agent.live_connections import LiveConnection, LiveConnections
from hauberk.agent.records_tail import Tail
from hauberk.agent.records_watch import DirectoryWatch
from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.spiffe_id import workload_id
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger
from hauberk.telemetry.decode import Decoder, Owner, UndecodableLine, build_record
from hauberk.telemetry.edges import Edge, Edges
from hauberk.telemetry.entry import Entry
from hauberk.telemetry.record import AccessRecord
from hauberk.telemetry.store import Limits, RecordQuery, RecordStore, are_between

# A sidecar's file beyond this begins anew; what was in it is in the store.
ROTATE_BYTES = 16 << 20
# Lines written together are read together: a wake-up for each of them would cost more than reading them.
GATHER_SECONDS = 0.1
FOLLOWED_AT_ONCE = 10_000  # records that a slow follower may be behind; older ones are lost to it

P = ParamSpec("P")
R = TypeVar("R")

_log = logger("records")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCounts:
    """What became of the lines since this agent started; `stored` is how many the store holds."""

    kept: int
    dropped: int
    stored: int


@dataclass(slots=True)
class _Source:
    """A pod whose file is read."""

    pod: PodRef
    decoder: Decoder
    tail: Tail
    live: LiveConnections
    located: bool = False


class Follower:
    """The records that match `query`, from the moment it was made on."""

    def __init__(self, query: RecordQuery) -> None:
        self._query = query
        self._waiting: deque[AccessRecord] = deque(maxlen=FOLLOWED_AT_ONCE)
        self._arrived = asyncio.Event()

    def offer(self, entries: list[Entry]) -> None:
        """The matching ones are waiting for the follower."""
        for entry in entries:
            if _wanted(self._query, entry):
                with suppress(UndecodableLine):
                    self._waiting.append(build_record(entry.line, entry.between.source, entry.between.destination))
        if self._waiting:
            self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[AccessRecord]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            self._arrived.clear()
            await self._arrived.wait()


class Records:
    """All records of this machine. `run` reads until cancelled; everything else may be called meanwhile."""

    def __init__(
        self, path: Path, *, limits: Limits | None = None, clock: Clock | None = None, trust_domain: str = "cluster.local"
    ) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock or SystemClock()
        self._trust_domain = trust_domain
        self._sources: dict[str, _Source] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._followers: set[Follower] = set()
        self._edges = Edges()
        self._kept = 0
        self._dropped = 0
        self._store: RecordStore | None = None
        self._watch: DirectoryWatch | None = None
        # One thread has the store and the files; reading never stops the agent's other work, and needs no lock.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")

    def follow(self, pod: PodRef, path: Path) -> None:
        """The lines that the sidecar of `pod` writes to `path` are read from now on, from where they were read last."""
        self._names.update((address, (pod.name, pod.namespace)) for address in pod.addresses)
        self._forget_parties()
        identity = str(workload_id(self._trust_domain, pod.namespace, pod.service_account))
        address = pod.addresses[0] if pod.addresses else ""
        owner = Owner(pod=pod.name, namespace=pod.namespace, identity=identity, address=address)
        live = LiveConnections(self._path.with_name("connections") / f"{pod.uid}.jsonl")
        self._sources[pod.uid] = _Source(pod, Decoder(owner, self._names.get), Tail(path), live)
        if self._watch is not None:
            self._watch.changed.set()

    async def leave(self, uid: str) -> None:
        """The last lines of that pod have been read, and its file may go."""
        source = self._sources.pop(uid, None)
        if source is None:
            return
        if self._watch is not None:
            self._watch.remove(source.tail.path.parent)
        await self._work(self._finish, source)
        for address in source.pod.addresses:
            self._names.pop(address, None)
        self._forget_parties()

    async def run(self) -> NoReturn:
        """Lines are read as they are written, until cancelled."""
        watch = self._watch = DirectoryWatch()
        try:
            while True:
                await self.collect()
                await watch.wait()
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._watch = None
            watch.close()

    async def collect(self) -> None:
        """Everything written so far has been read."""
        for source in tuple(self._sources.values()):
            await self._collect(source)

    async def _collect(self, source: _Source) -> None:
        if self._watch is not None:
            self._watch.add(source.tail.path.parent)  # it may not have existed before
        while decoded := await self._work(self._read, source):
            for follower in self._followers:
                follower.offer(decoded)
        if source.tail.size > ROTATE_BYTES:
            await self._rotate(source)

    async def live(self, uid: str) -> tuple[LiveConnection, ...]:
        """The connections of bytes to that pod's program that are open, as far as its sidecar has written by now."""
        source = self._sources.get(uid)
        if source is None:
            return ()
        await self._collect(source)
        return await self._work(source.live.all)

    async def query(self, query: RecordQuery) -> list[AccessRecord]:
        """The newest records that `query` wants, oldest of them first."""
        return await self._work(self._find, query)

    async def following(self, query: RecordQuery) -> AsyncIterator[AccessRecord]:
        """Matching records as they come, until the iteration is closed."""
        follower = Follower(query)
        self._followers.add(follower)
        try:
            async for record in follower:
                yield record
        finally:
            self._followers.discard(follower)

    def edges(self, window: int = 10) -> tuple[Edge, ...]:
        """Who called whom in the last `window` whole seconds."""
        return self._edges.edges(int(self._clock.monotonic()), window)

    @property
    def counts(self) -> RecordCounts:
        """How many lines were kept and how many given up."""
        dropped = self._dropped + sum(source.tail.dropped for source in self._sources.values())
        return RecordCounts(kept=self._kept, dropped=dropped, stored=self._store.count if self._store else 0)

    async def close(self) -> None:
        """The store is closed. Nothing may be called afterwards."""
        if self._store is not None:
            await self._work(self._store.close)
        self._thread.shutdown()

    def _forget_parties(self) -> None:
        for source in tuple(self._sources.values()):
            self._thread.submit(source.decoder.forget)  # where it is used

    # --- in the records' own thread

    async def _work(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *arguments, **named))

    def _opened(self) -> RecordStore:
        if self._store is None:
            self._store = RecordStore.open(self._path, self._limits)
        return self._store

    def _read(self, source: _Source) -> list[Entry]:
        """What is new of that file, kept and counted."""
        store = self._opened()
        if not source.located:
            source.tail.locate(store.position(str(source.tail.path)))
            source.located = True
        lines = source.tail.read()
        if not lines:
            return []
        decoded = self._decoded(source.live.take(lines), source.decoder)
        try:
            store.append(decoded, [source.tail.position])
        except sqlite3.Error as exc:
            # A full disk, most likely: these are lost, those that come when there is room again are not.
            self._dropped += len(decoded)
            _log.warning("records could not be kept", number=len(decoded), reason=str(exc))
        else:
            self._kept += len(decoded)
        return decoded

    def _decoded(self, lines: list[bytes], decoder: Decoder) -> list[Entry]:
        decoded: list[Entry] = []
        second = int(self._clock.monotonic())
        decode, count, keep = decoder.decode, self._edges.add, decoded.append
        for line in lines:
            try:
                entry = decode(line)
            except UndecodableLine:
                self._dropped += 1
                continue
            count(entry, second)
            keep(entry)
        return decoded

    def _finish(self, source: _Source) -> None:
        while self._read(source):
            pass
        source.tail.close()
        source.live.forget()
        self._dropped += source.tail.dropped
        self._opened().forget_position(str(source.tail.path))

    def _find(self, query: RecordQuery) -> list[AccessRecord]:
        found: list[AccessRecord] = []
        for kept in self._opened().query(query):
            with suppress(UndecodableLine):
                found.append(build_record(kept.line, kept.source, kept.destination))
        return found

    async def _rotate(self, source: _Source) -> None:
        await self._work(source.tail.set_aside)
        # Envoy goes on writing to the old file until it is told; the tail reads that to its end before it takes up the new one.
        with suppress(AdminUnreachable):
            await EnvoyAdmin(source.tail.path.with_name("admin.sock")).request("POST", "/reopen_logs")


def _wanted(query: RecordQuery, entry: Entry) -> bool:
    if query.denied and not entry.denied:
        return False
    if query.request_id is not None and entry.request_id != query.request_id.encode(errors="replace"):
        return False
    return are_between(entry.between.source, entry.between.destination, query.source, query.destination)
