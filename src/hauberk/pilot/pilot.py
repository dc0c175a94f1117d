"""The service that keeps every proxy's configuration up to date."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.problem import Problem
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger
from hauberk.mesh.issuer_keys import NO_KEYS, KnownKeys
from hauberk.mesh.settings import MeshSettings
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.mesh.turning import Turning, advanced, next_turning
from hauberk.pilot.absence import Absence, Parts
from hauberk.pilot.connection import Connection
from hauberk.pilot.ledger import Ledger, Push
from hauberk.pilot.memory import Tidying
from hauberk.pilot.status import Counters, ProxyStatus, PushResult, Refusal, refusal_problems
from hauberk.pilot.translation import Translation, Translator
from hauberk.pilot.waiting import Turnstile
from hauberk.sources.change import Event, Listing
from hauberk.xds.stream import DeltaServer, StreamRefused
from hauberk.xds.update import Rejection

# Long enough that what one controller writes in one breath (a Deployment's ten pods) is one push, short enough that nobody
# waiting for it notices.
DEBOUNCE_SECONDS: Final = 0.003
# How long a proxy that does not answer keeps the others from the next step between plain connections and mutual TLS.
TURN_SECONDS: Final = 3.0
# Kinds that no proxy's configuration is made from: nobody has to acknowledge a change of only these.
UNRELATED: Final = frozenset({"Namespace", "ServiceAccount"})
# sidecar~IP~pod.namespace~namespace.svc.cluster.local
_NODE_ID: Final = re.compile(r"[a-z]+~[^~]*~(?P<name>[^~]+)\.(?P<namespace>[^~.]+)~[^~]*")

log = logger("pilot")


class Objects(Protocol):
    """The part of the store that pilot reads."""

    def list(self) -> Listing: ...

    def get(self, key: ObjectKey) -> ApiObject | None: ...

    def subscribe(self, kinds: Collection[str] | None = None, since: int | None = None) -> AsyncIterator[tuple[Event, ...]]: ...


class Pilot:
    """Objects in, configuration out. `run` serves until cancelled; everything else may be called from the same event loop."""

    def __init__(
        self,
        objects: Objects,
        translator: Translator,
        *,
        settings: MeshSettings | None = None,
        clock: Clock | None = None,
        debounce: float = DEBOUNCE_SECONDS,
    ) -> None:
        self.counters = Counters()
        self._objects = objects
        self._settings = settings or MeshSettings()
        self._keys = NO_KEYS
        self._told_keys: frozenset[ObjectKey] = frozenset()  # proxies that had not answered to other keys when somebody last looked
        self._clock = clock or SystemClock()
        self._debounce = debounce
        self._translation = Translation(translator)
        self._snapshot: MeshSnapshot | None = None
        self._ledger = Ledger()
        self._turnstile = Turnstile()
        self._tidying = Tidying()
        self._connections: dict[ObjectKey, Connection] = {}
        self._absence = Absence()
        self._turning = Turning()
        self._turns = asyncio.Event()
        self._last_step: Push | None = None
        # What proxies refused before they went away: a stream that comes back is not told it again.
        self._refused: dict[ObjectKey, tuple[Rejection, ...]] = {}

    # --- for the rest of the control plane

    @property
    def ready(self) -> bool:
        """Whether proxies can be served."""
        return self._snapshot is not None

    @property
    def snapshot(self) -> MeshSnapshot | None:
        """The mesh as it was last pushed."""
        return self._snapshot

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be translated, and what proxies refused."""
        return (*self._translation.problems, *refusal_problems(sorted(self._refusals(), key=by_pod)))

    async def run(self, *addresses: str) -> None:
        """Watch the objects and serve delta ADS on `addresses` (`unix:/path`, `host:port`), until cancelled."""
        self._renew()
        self._tidying.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="pilot:watch")
            tasks.create_task(self._turn(), name="pilot:turn")
            tasks.create_task(self._serve(addresses), name="pilot:serve")

    async def serve(self, address: str, admits: Callable[[ApiObject], bool]) -> None:
        """Serve delta ADS at one more address until cancelled, to the proxies of pods that `admits` lets through."""
        async with DeltaServer(lambda first: self._accept(first, admits)).serving(address):
            await asyncio.Event().wait()

    async def wait(self, revision: int, timeout: float) -> PushResult:
        """Until every proxy that `revision` concerns has acknowledged it, or `timeout` seconds are over."""
        try:
            async with asyncio.timeout(timeout):
                await self._turnstile.until(lambda: self._ledger.revision >= revision)
                await self._turnstile.until(lambda: not self._turning.turns)
                pushes = self._ledger.through(revision, self._last_step)
                await self._turnstile.until(lambda: all(push.done for push in pushes))
        except TimeoutError:
            pushes = self._ledger.through(revision, self._last_step)
            if not pushes:
                return PushResult(affected=len(self._connections), acknowledged=0, pending=_names(self._connections))
        return self._result(pushes)

    def federate(self, trust_domains: tuple[str, ...]) -> None:
        """Members of these foreign trust domains are let as far as the policies, and of no others."""
        settings = replace(self._settings, foreign_trust_domains=trust_domains)
        if settings != self._settings:
            self._settings = settings
            if self._snapshot is not None:
                self._renew()

    def believe(self, keys: KnownKeys) -> None:
        """Tokens of end users are verified with these keys, and with no others."""
        if keys != self._keys:
            self._keys = keys
            push = self._renew() if self._snapshot is not None else None
            self._told_keys |= push.affected if push is not None else frozenset()

    async def keys_taken(self, timeout: float) -> None:
        """Until every connected proxy that was told other keys has answered, or `timeout` seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._turnstile.until(lambda: not any(self._is_behind(pod) for pod in self._told_keys))
        self._told_keys = frozenset(pod for pod in self._told_keys if self._is_behind(pod))

    def _is_behind(self, pod: ObjectKey) -> bool:
        connection = self._connections.get(pod)
        return connection is not None and not connection.session.synced

    async def settle(self, timeout: float) -> None:
        """Until every connected proxy has answered to all that it was told, or `timeout` seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._turnstile.until(lambda: all(each.session.synced for each in self._connections.values()))

    def status(self) -> tuple[ProxyStatus, ...]:
        """Every proxy that is connected or should be, by namespace and name."""
        found = {pod: connection.status() for pod, connection in self._connections.items()}
        for pod in self._expected():
            found.setdefault(pod, ProxyStatus(pod=pod, connected=False, synced=False))
        return tuple(found[pod] for pod in sorted(found))

    def _result(self, pushes: tuple[Push, ...]) -> PushResult:
        concerned = frozenset[ObjectKey]().union(*(push.affected for push in pushes))
        pending = frozenset[ObjectKey]().union(*(push.pending for push in pushes))
        found = (each for each in self._refusals() - pushes[0].refused_before if each[0] in concerned)
        rejected = sorted(found, key=by_pod)
        unsettled = pending | {pod for pod, _ in rejected}
        affected = len(concerned)
        return PushResult(affected=affected, acknowledged=affected - len(unsettled), pending=_names(pending), rejected=tuple(rejected))

    def _refusals(self) -> frozenset[Refusal]:
        return frozenset((pod, each) for pod, connection in self._connections.items() for each in connection.session.rejections)

    # --- objects

    async def _watch(self) -> None:
        async for changed in self._objects.subscribe(since=self._ledger.revision):
            self._tidying.postpone()
            await asyncio.sleep(self._debounce)
            revision = self._objects.list().revision
            if revision <= self._ledger.revision:
                continue  # taken in together with an earlier change
            if revision == changed[-1].revision and all(event.object.kind in UNRELATED for event in changed):
                self._ledger.pushed(revision, ())
                self._turnstile.notify()
            else:
                self._renew()

    def _renew(self) -> Push | None:
        """What there is now is pushed; None if it could not be."""
        listing = self._objects.list()
        began = self._clock.monotonic()
        try:
            self._snapshot = self._build(listing.items)
        except Exception:
            # A bug; without any snapshot there is nothing to serve, but a mesh that runs goes on with the last one.
            if self._snapshot is None:
                raise
            log.exception("the snapshot could not be built; proxies keep what they have", revision=listing.revision)
            return None
        built = self._clock.monotonic()
        push = self._push(self._snapshot, listing.revision)
        self._count(push, built - began, self._clock.monotonic() - built)
        self._turnstile.notify()
        return push

    def _build(self, items: Iterable[ApiObject]) -> MeshSnapshot:
        snapshot = build_snapshot(items, self._snapshot, self._settings, self._keys, self._turning)
        turning = next_turning(self._turning, snapshot.modes)
        if turning.turns != self._turning.turns:
            snapshot = build_snapshot(items, snapshot, self._settings, self._keys, turning)
        self._turning = turning
        if turning.turns:
            self._turns.set()
        return snapshot

    async def _turn(self) -> None:
        """Workloads that begin or cease to take mutual TLS do so in steps; each is made when every proxy has taken the one before."""
        while True:
            await self._turns.wait()
            # Whoever does not answer must not keep a mode from ever being enforced.
            await self.settle(TURN_SECONDS)
            self._turning = advanced(self._turning)
            if not self._turning.turns:
                self._turns.clear()
            self._last_step = self._renew() or self._last_step

    def _push(self, snapshot: MeshSnapshot, revision: int) -> Push:
        self._translation.renew(snapshot)
        refused_before = self._refusals()
        concerned = [pod for pod, connection in self._connections.items() if self._bring(connection, revision)]
        shared = {namespace: self._translation.shared(namespace) for namespace in {pod.namespace for pod in snapshot.inbound}}
        absent = {pod: (*shared[pod.namespace], snapshot.inbound[pod]) for pod in self._expected() if pod not in self._connections}
        left = self._absence.pods - absent.keys() - self._connections.keys()
        concerned += self._absence.renew(absent)
        push = self._ledger.pushed(revision, concerned, refused_before)
        for pod in left:
            self._ledger.gone(pod)
        self._translation.keep(self._connections)
        return push

    def _bring(self, connection: Connection, revision: int) -> bool:
        layers = self._translation.of(connection.pod)
        return layers is not None and connection.push(layers, revision)

    def _expected(self) -> list[ObjectKey]:
        """Pods that run and have a sidecar, so that their proxy is connected unless its agent just is not."""
        if self._snapshot is None:
            return []
        workloads = self._snapshot.workloads
        return [pod for pod in self._snapshot.inbound if workloads[pod].ready]

    def _parts(self, pod: ObjectKey) -> Parts:
        inbound = self._snapshot.inbound.get(pod) if self._snapshot is not None else None
        return (*self._translation.shared(pod.namespace), inbound)

    def _count(self, push: Push, snapshot_seconds: float, push_seconds: float) -> None:
        counters = self.counters
        counters.snapshots += 1
        counters.snapshot_seconds += snapshot_seconds
        counters.push_seconds += push_seconds
        counters.pushes += bool(push.affected)
        counters.affected += len(push.affected)
        if push.affected:
            seconds = {"snapshot": round(snapshot_seconds, 4), "push": round(push_seconds, 4)}
            log.info("pushed", revision=push.revision, proxies=len(push.affected), seconds=seconds)

    # --- proxies

    async def _serve(self, addresses: tuple[str, ...]) -> None:
        async with DeltaServer(self._accept).serving(*addresses):
            await asyncio.Event().wait()

    def _accept(self, first: DeltaDiscoveryRequest, admits: Callable[[ApiObject], bool] = lambda _: True) -> Connection:
        pod = _pod_of(first.node.id)
        # Labels, account and addresses are the stored pod's: what the node says of itself is not believed.
        known = self._objects.get(pod) if pod is not None else None
        if pod is None or known is None or not admits(known):
            log.warning("refused a proxy", node=first.node.id)
            raise StreamRefused(f"no pod {first.node.id!r} is known here")
        return Connection(pod, self, self._clock, self._refused.pop(pod, ()))

    def on_open(self, connection: Connection) -> None:
        self._connections[connection.pod] = connection
        self.counters.connections += 1
        self._bring(connection, self._ledger.revision)

    def on_answer(self, connection: Connection, *, refused: bool) -> None:
        if refused:
            self.counters.rejections += 1
            self._report(connection)
        revision = connection.newly_acknowledged()
        if revision is not None:
            self.counters.acknowledgements += 1
            self._ledger.acknowledged(connection.pod, revision)
        if connection.session.synced:
            self._turnstile.notify()

    def on_close(self, connection: Connection) -> None:
        if connection.session.rejections:
            self._refused[connection.pod] = connection.session.rejections
        # A stream that came back before this one was seen to end has taken its place already.
        if self._connections.get(connection.pod) is not connection:
            return
        del self._connections[connection.pod]
        if connection.pod in self._expected():
            self._absence.begin(connection.pod, self._parts(connection.pod))
        else:
            self._ledger.gone(connection.pod)
        self._turnstile.notify()

    def _report(self, connection: Connection) -> None:
        for rejection in connection.session.rejections:
            log.warning("a proxy refused a resource", pod=str(connection.pod), resource=rejection.name, reason=rejection.message)


def by_pod(refusal: Refusal) -> tuple[ObjectKey, str, str]:
    """An order that does not change from one look to the next."""
    return refusal[0], refusal[1].type_url, refusal[1].name


def _pod_of(node_id: str) -> ObjectKey | None:
    found = _NODE_ID.fullmatch(node_id)
    return ObjectKey("Pod", found["namespace"], found["name"]) if found else None


def _names(pods: Collection[ObjectKey]) -> tuple[str, ...]:
    return tuple(f"{pod.namespace}/{pod.name}" for pod in sorted(pods))
