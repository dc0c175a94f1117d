"""The client's side of one delta ADS stream, as a value: what a relay asks its server for, and what it was told.

It outlives the stream: after a reconnect the server is told what is held, and sends only what changed since. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.rpc.status_pb2 import Status

from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.names import NO_NAMES
from hauberk.xds.resource import Resource

EVERYTHING: Final = "*"
INVALID_ARGUMENT: Final = 3  # google.rpc.Code: what Envoy puts into its own refusals


class ResourcePool:
    """Equal resources as one object, for as long as someone holds it: the pods of one machine are told mostly the same."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, str, str], Resource] = WeakValueDictionary()

    def one(self, resource: Resource) -> Resource:
        return self._known.setdefault((resource.type_url, resource.name, resource.version), resource)


@dataclass(frozen=True, slots=True)
class Received:
    """A response that was taken in and waits to be answered with `acknowledge` or `refuse`."""

    type_url: str
    nonce: str
    updated: frozenset[str]
    removed: frozenset[str]


class DeltaClient:
    """What one relay wants and holds. `held` is what an earlier run kept, for instance on disk."""

    def __init__(self, node: Node, *, held: Iterable[Resource] = (), pool: ResourcePool | None = None) -> None:
        self._node = node
        self._pool = pool or ResourcePool()
        self._held: dict[str, dict[str, Resource]] = {}
        self._absent: dict[str, frozenset[str]] = {}
        self._wanted: dict[str, frozenset[str]] = {}
        self._complete: frozenset[str] = NO_NAMES
        self._connected = False
        self._layers: dict[str, Layer] = {}
        self._revision = 0
        for resource in held:
            self._held.setdefault(resource.type_url, {})[resource.name] = self._pool.one(resource)
        for type_url in self._held:
            self._freeze(type_url)
        self._resources = self._collect()

    @property
    def resources(self) -> ResourceSet:
        """All that is held; its revision rises with every response taken in."""
        return self._resources

    @property
    def connected(self) -> bool:
        return self._connected

    def wanted(self, type_url: str) -> frozenset[str]:
        return self._wanted.get(type_url, NO_NAMES)

    # --- the stream

    def connect(self) -> tuple[DeltaDiscoveryRequest, ...]:
        """A stream was opened; the requests to begin it with."""
        self._connected = True
        requests = tuple(self._first(type_url, names) for type_url, names in self._wanted.items())
        for request in requests[:1]:
            request.node.CopyFrom(self._node)
        return requests

    def disconnect(self) -> None:
        """The stream ended; what is held stays."""
        self._connected = False

    def want(self, type_url: str, names: Iterable[str]) -> tuple[DeltaDiscoveryRequest, ...]:
        """From now on exactly `names` of this type are wanted (`*` is all of them); the requests to send now."""
        before, now = self._wanted.get(type_url), frozenset(names)
        if before is None and not now:
            return ()
        first_of_all = not self._wanted
        self._wanted[type_url] = now
        dropped = (before or NO_NAMES) - now
        if dropped:
            self._drop(type_url, dropped)
        if not self._connected:
            return ()
        if before is None:
            request = self._first(type_url, now)
            if first_of_all:
                request.node.CopyFrom(self._node)
            return (request,)
        if before == now:
            return ()
        added, left = sorted(now - before), sorted(dropped)
        return (DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=added, resource_names_unsubscribe=left),)

    def ask_again(self, type_url: str, names: Iterable[str]) -> tuple[DeltaDiscoveryRequest, ...]:
        """Have `names`, wanted already, told once more."""
        if not self._connected:
            return ()
        return (DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=sorted(names)),)

    def on_response(self, response: DeltaDiscoveryResponse) -> Received:
        """Take in what the server told. The answer to it is given later, when the relay's own client has given one."""
        type_url = response.type_url
        group = self._held.setdefault(type_url, {})
        updated = [self._pool.one(Resource.parse(encoded)) for encoded in response.resources]
        removed = frozenset(response.removed_resources)
        for name in removed:
            group.pop(name, None)
        group.update((resource.name, resource) for resource in updated)
        names = frozenset(resource.name for resource in updated)
        wanted = self.wanted(type_url)
        self._absent[type_url] = (self._absent.get(type_url, NO_NAMES) | removed) & wanted - names
        if EVERYTHING in wanted:
            self._complete |= {type_url}
        self._freeze(type_url)
        self._revision += 1
        self._resources = self._collect()
        return Received(type_url, response.nonce, names, removed)

    def acknowledge(self, received: Received) -> DeltaDiscoveryRequest:
        return DeltaDiscoveryRequest(type_url=received.type_url, response_nonce=received.nonce)

    def refuse(self, received: Received, message: str) -> DeltaDiscoveryRequest:
        """Tell the server that what it told was not accepted, in the words of the one who did not accept it."""
        detail = Status(code=INVALID_ARGUMENT, message=message)
        return DeltaDiscoveryRequest(type_url=received.type_url, response_nonce=received.nonce, error_detail=detail)

    # --- what is held

    def _first(self, type_url: str, names: frozenset[str]) -> DeltaDiscoveryRequest:
        held = {name: resource.version for name, resource in self._held.get(type_url, {}).items()}
        return DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=sorted(names), initial_resource_versions=held)

    def _drop(self, type_url: str, names: frozenset[str]) -> None:
        if EVERYTHING in self.wanted(type_url):
            return
        group = self._held.get(type_url, {})
        gone = list(group) if EVERYTHING in names else names
        for name in gone:
            if name not in self.wanted(type_url):
                group.pop(name, None)
        self._complete -= {type_url} if EVERYTHING in names else NO_NAMES
        self._absent[type_url] = self._absent.get(type_url, NO_NAMES) - names
        self._freeze(type_url)
        self._resources = self._collect()

    def _freeze(self, type_url: str) -> None:
        # One layer a type: a response rebuilds the table of its own type only.
        self._layers[type_url] = Layer.of(type_url, self._held.get(type_url, {}).values(), self._layers.get(type_url))

    def _collect(self) -> ResourceSet:
        absent: Mapping[str, frozenset[str]] = MappingProxyType(dict(self._absent))
        layers = tuple(self._layers.values())
        return ResourceSet(layers, self._revision, partial=True, complete=self._complete, absent=absent)
