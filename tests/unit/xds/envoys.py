"""A simulated Envoy, strict about what it is told, and resources whose references it understands."""

from __future__ import annotations

from collections import Counter, deque

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status

from hauberk.xds.layers import ResourceSet
from hauberk.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource
from hauberk.xds.session import DeltaSession
from hauberk.xds.update import Update

TYPES = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)
BAD = "bad"  # a version that Envoy refuses


def cluster(name: str, version: str = "1") -> Resource:
    return Resource.of(Cluster(name=name, alt_stat_name=version), name, origins=(f"Service/shop/{name}",))


def endpoints(name: str, version: str = "1") -> Resource:
    return Resource.of(ClusterLoadAssignment(cluster_name=name, named_endpoints={version: Endpoint()}), name)


def listener(name: str, *routes: str, version: str = "1") -> Resource:
    return Resource.of(
        Listener(name=name, stat_prefix=version, metadata=Metadata(filter_metadata={route: Struct() for route in routes})), name
    )


def routes(name: str, *clusters: str, version: str = "1") -> Resource:
    return Resource.of(RouteConfiguration(name=name, internal_only_headers=clusters, response_headers_to_remove=[version]), name)


def decode(update: Update) -> DeltaDiscoveryResponse:
    return DeltaDiscoveryResponse.FromString(update.encode())


def names_in(update: Update) -> list[str]:
    return [resource.name for resource in decode(update).resources]


class SimulatedEnvoy:
    """Asks in Envoy's order, refuses bad resources and keeps the good ones, and fails where traffic would have been lost."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, EncodedResource]] = {type_url: {} for type_url in TYPES}
        self.refused: dict[tuple[str, str], str] = {}
        self.refusals: dict[tuple[str, str], list[tuple[str, str]]] = {}  # by type and nonce
        self.forgiven: set[tuple[str, str]] = set()  # refused, but something else was right in between: may be told again
        self.warm: set[str] = set()  # clusters that can take traffic
        self.refilling: set[str] = set()  # clusters changed since their endpoints came
        self.names: dict[str, set[str]] = {ENDPOINTS: set(), ROUTES: set()}
        self.asked: Counter[tuple[str, str]] = Counter()  # how often it may be told what it holds already
        self.outbox: deque[DeltaDiscoveryRequest] = deque()
        self.begun: set[str] = set()
        self.connect()

    def connect(self) -> None:
        for request in self.outbox:
            # A refusal that did not arrive is not known to the server.
            for key in self.refusals.get((request.type_url, request.response_nonce), ()):
                self.refused.pop(key, None)
        self.outbox.clear()
        begun, self.begun = self.begun or {CLUSTER}, set()
        for type_url in TYPES:
            if type_url in begun:
                self._begin(type_url)

    def forgive(self, target: ResourceSet) -> None:
        """`target` is right now; what was refused and is not in it may be tried again later."""
        current = {key for key, version in self.refused.items() if (now := target.get(*key)) is not None and now.version == version}
        self.forgiven = {key for key in self.refused if key in self.forgiven or key not in current}

    def _begin(self, type_url: str) -> None:
        self.begun.add(type_url)
        held = {name: resource.version for name, resource in self.held[type_url].items()}
        names = ["*"] if type_url not in self.names and held else sorted(self.names.get(type_url, ()))
        self.asked.update((type_url, name) for name in names if name not in held)
        if not held:
            # To the server it looks like one that has just started, and is told what another process has refused.
            self.refused = {key: version for key, version in self.refused.items() if key[0] != type_url}
        self._send(DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, initial_resource_versions=held))

    def _send(self, request: DeltaDiscoveryRequest) -> None:
        if not self.outbox and len(self.begun) == 1:
            request.node.id = "sidecar~10.0.0.1~web.shop~shop.svc.cluster.local"
        self.outbox.append(request)

    def receive(self, response: DeltaDiscoveryResponse) -> None:
        type_url = response.type_url
        told = (r for r in response.resources if type_url not in self.names or r.name in self.names[type_url])
        bad = [resource.name for resource in told if not self._accept(type_url, resource)]
        self.refusals[type_url, response.nonce] = [(type_url, name) for name in bad]
        for name in response.removed_resources:
            self._remove(type_url, name)
        answer = DeltaDiscoveryRequest(type_url=type_url, response_nonce=response.nonce)
        if bad:
            answer.error_detail.CopyFrom(Status(code=3, message="; ".join(f"Error adding/updating {name}: is bad" for name in bad)))
        self._send(answer)
        self._follow_references(type_url)

    def _accept(self, type_url: str, resource: EncodedResource) -> bool:
        key = (type_url, resource.name)
        self._check_news(type_url, resource)
        if type_url == CLUSTER:
            self.refilling.add(resource.name)
        if BAD.encode() in resource.resource.value:
            self.refused[key] = resource.version
            self.forgiven.discard(key)
            return False
        self.refused.pop(key, None)
        self.held[type_url][resource.name] = resource
        if type_url == ENDPOINTS:
            self.warm.add(resource.name)
            self.refilling.discard(resource.name)
        if type_url == ROUTES:
            self._check_clusters(resource)
        return True

    def _check_news(self, type_url: str, resource: EncodedResource) -> None:
        held = self.held[type_url].get(resource.name)
        key = (type_url, resource.name)
        refused = self.refused.get(key) == resource.version and key not in self.forgiven
        assert not refused, f"{key} is told again although it was refused"
        if held is None or held.version != resource.version or key in self.refused:
            return
        refilled = type_url == ENDPOINTS and resource.name in self.refilling
        self.asked[key] -= not refilled
        assert self.asked[key] >= 0, f"{key} is told again unchanged"

    def _check_clusters(self, resource: EncodedResource) -> None:
        for name in RouteConfiguration.FromString(resource.resource.value).internal_only_headers:
            assert name in self.warm or (CLUSTER, name) in self.refused, f"route {resource.name} names {name}, which takes no traffic yet"

    def _remove(self, type_url: str, name: str) -> None:
        self.held[type_url].pop(name, None)
        self.refused.pop((type_url, name), None)
        if type_url == CLUSTER:
            in_use = {c for r in self.held[ROUTES].values() for c in RouteConfiguration.FromString(r.resource.value).internal_only_headers}
            assert name not in in_use, f"cluster {name} is taken away while a route names it"
            self.warm.discard(name)
            self.refilling.discard(name)

    def _follow_references(self, type_url: str) -> None:
        if type_url == CLUSTER:
            self._ask(ENDPOINTS, set(self.held[CLUSTER]))
        if type_url == LISTENER:
            found = (Listener.FromString(each.resource.value) for each in self.held[LISTENER].values())
            self._ask(ROUTES, {name for each in found for name in each.metadata.filter_metadata})
        if LISTENER not in self.begun and self.warm >= self.held[CLUSTER].keys():
            self._begin(LISTENER)

    def _ask(self, type_url: str, names: set[str]) -> None:
        added, left = names - self.names[type_url], self.names[type_url] - names
        self.names[type_url] = names
        for name in left:
            self.held[type_url].pop(name, None)
            self.refused.pop((type_url, name), None)
        self.asked.update((type_url, name) for name in added)
        if added or left:
            self.begun.add(type_url)
            request = DeltaDiscoveryRequest(type_url=type_url)
            request.resource_names_subscribe.extend(sorted(added))
            request.resource_names_unsubscribe.extend(sorted(left))
            self._send(request)


def converse(envoy: SimulatedEnvoy, session: DeltaSession, updates: tuple[Update, ...] = ()) -> list[Update]:
    """Let both talk until neither has anything to say; all that the server said."""
    said: list[Update] = []
    queue = deque(updates)
    while queue or envoy.outbox:
        while queue:
            said.append(queue[0])
            envoy.receive(decode(queue.popleft()))
        if envoy.outbox:
            queue.extend(session.on_request(envoy.outbox.popleft()))
    return said
