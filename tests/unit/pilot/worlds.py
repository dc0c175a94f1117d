"""A small mesh in memory, a translation simple enough to read, and proxies that answer or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from tests.unit.xds.envoys import SimulatedEnvoy, cluster, endpoints, listener, routes

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.namespace import Namespace
from hauberk.api.peer_authentication import MtlsMode
from hauberk.api.pod import Pod
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.api.service import Service
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.sources.change import Event, EventType, Listing
from hauberk.xds.resource import LISTENER, Resource
from hauberk.xds.stream import dial

PATIENCE = 10


def pod(name: str, *, namespace: str = "shop", address: str = "10.0.0.1", ready: bool = True, app: str = "web") -> Pod:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
    spec = {"containers": [{"name": "app", "command": ["app"]}]}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": app}}
    return Pod.model_validate({"metadata": metadata, "spec": spec, "status": status})


def service(name: str, *, namespace: str = "shop") -> Service:
    spec = {"clusterIP": "10.96.0.1", "selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
    return Service.model_validate({"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def policy(name: str, *, namespace: str = "shop", app: str = "web") -> AuthorizationPolicy:
    document = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": namespace}}
    return AuthorizationPolicy.model_validate({**document, "spec": {"selector": {"matchLabels": {"app": app}}}})


def authentication(name: str, uri: str, *, app: str = "web") -> RequestAuthentication:
    spec = {"selector": {"matchLabels": {"app": app}}, "jwtRules": [{"issuer": "https://idp.example", "jwksUri": uri}]}
    return RequestAuthentication.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


def namespace_object(name: str) -> Namespace:
    return Namespace(api_version="v1", kind="Namespace", metadata=Metadata(name=name))


class Objects:
    """A store without a disk."""

    def __init__(self, *objects: ApiObject) -> None:
        self.revision = 0
        self._objects: dict[ObjectKey, ApiObject] = {}
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self.put(*objects)

    def put(self, *objects: ApiObject) -> int:
        for each in objects:
            self.revision += 1
            self._objects[each.key] = each
            self._events.append(Event(EventType.MODIFIED, each, self.revision))
        self._changed.set()
        return self.revision

    def remove(self, key: ObjectKey) -> int:
        self.revision += 1
        self._events.append(Event(EventType.DELETED, self._objects.pop(key), self.revision))
        self._changed.set()
        return self.revision

    def list(self) -> Listing:
        return Listing(tuple(self._objects.values()), self.revision)

    def get(self, key: ObjectKey) -> ApiObject | None:
        return self._objects.get(key)

    async def subscribe(self, kinds: Collection[str] | None = None, since: int | None = None) -> AsyncIterator[tuple[Event, ...]]:
        seen = since or 0
        while True:
            self._changed.clear()
            if events := tuple(event for event in self._events if event.revision > seen):
                seen = events[-1].revision
                yield events
            else:
                await self._changed.wait()


class Translator:
    """Clusters and endpoints of all services, a route configuration for each namespace, and a listener for each pod's policies."""

    def __init__(self) -> None:
        self.stumbles_over: set[str] = set()
        self.calls: list[str] = []

    def mesh(self, snapshot: MeshSnapshot) -> tuple[Resource, ...]:
        self._call("mesh")
        return snapshot.reuse(_mesh, snapshot.services, snapshot.endpoints)

    def namespace(self, snapshot: MeshSnapshot, namespace: str) -> tuple[Resource, ...]:
        self._call(namespace)
        return snapshot.reuse(_namespace, namespace, snapshot.services, scope=namespace)

    def pod(self, snapshot: MeshSnapshot, pod: ObjectKey) -> tuple[Resource, ...]:
        self._call(pod.name)
        return snapshot.reuse(_pod, snapshot.inbound[pod], scope=pod)

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if what in self.stumbles_over:
            raise ValueError(f"stumbled over {what}")


def _mesh(services: dict[ObjectKey, Service], found: dict[ObjectKey, object]) -> tuple[Resource, ...]:
    names = [key.name for key in services]
    return (
        *(cluster(name) for name in names),
        *(endpoints(name, str(hash(str(found[key])))) for name, key in zip(names, services, strict=True)),
    )


def _namespace(namespace: str, services: dict[ObjectKey, Service]) -> tuple[Resource, ...]:
    return (routes("80", *(key.name for key in services)), listener("80", "80"))


def _pod(inbound: object) -> tuple[Resource, ...]:
    names = [each.metadata.name for each in inbound.policies]  # type: ignore[attr-defined]  # Inbound, whose import this file can do without
    names += [each.keys.jwks for each in inbound.tokens]  # type: ignore[attr-defined]
    if inbound.mode is not MtlsMode.PERMISSIVE:  # type: ignore[attr-defined]
        names.append(inbound.mode.value)  # type: ignore[attr-defined]
    bad = any(name == "bad" for name in names)
    return (listener("inbound", version="bad" if bad else "-".join(names) or "none"),)


class Proxy:
    """A simulated Envoy on a real stream; while `held_back` it reads but does not answer."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.envoy = SimulatedEnvoy()
        self.told: list[str] = []
        self._answers = asyncio.Event()
        self._answers.set()
        self._changed = asyncio.Event()

    def hold_back(self) -> None:
        self._answers.clear()

    def go_on(self) -> None:
        self._answers.set()

    async def run(self, address: str) -> None:
        async with dial(address) as stream:
            await self._flush(stream.send)
            async for response in stream:
                self.told += [resource.name for resource in response.resources]
                self.envoy.receive(response)
                self._changed.set()
                await self._answers.wait()
                await self._flush(stream.send)

    async def _flush(self, send: Callable[[DeltaDiscoveryRequest], object]) -> None:
        while self.envoy.outbox:
            request = self.envoy.outbox.popleft()
            if request.HasField("node"):
                request.node.id = f"sidecar~10.0.0.1~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"
            await send(request)  # type: ignore[misc]  # a coroutine function

    async def until(self, condition: Callable[[SimulatedEnvoy], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition(self.envoy):
                self._changed.clear()
                await self._changed.wait()

    def inbound_version(self) -> str:
        return self.envoy.held[LISTENER]["inbound"].version

    @asynccontextmanager
    async def connected(self, address: str) -> AsyncIterator[Proxy]:
        self.envoy.connect()
        task = asyncio.create_task(self.run(address))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
