"""What guards a workload: its listener, the rules of its ports, and the way to its program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.extension_provider import EnvoyExtAuthzHttp
from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.envoy.name import INBOUND_PASSTHROUGH
from hauberk.envoy.name import inbound as inbound_name
from hauberk.mesh.external_authorizer import Authorizer, Authorizers, NoAuthorizer, chosen_authorizer, own_port
from hauberk.mesh.inbound import Inbound, InboundPort
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.request_authentication import TokenRule
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.mesh.workload import Workload
from hauberk.policy.token_place import TokenPlace
from hauberk.translate.clusters import inbound_cluster
from hauberk.translate.encode import encode_resource
from hauberk.translate.external_authorization import encode_ext_authz
from hauberk.translate.inbound_listener import virtual_inbound
from hauberk.translate.jwt import encode_tokens, output_headers, token_filters
from hauberk.translate.limits import Limits
from hauberk.translate.one_token import token_places
from hauberk.translate.outbound import authorizers_of, limits_of
from hauberk.translate.outbound_listeners import virtual_outbound
from hauberk.translate.rbac import HttpRules
from hauberk.translate.route_filters import RouteFilters
from hauberk.translate.routes import inbound_routes
from hauberk.translate.tcp_authorization import encode_decisions
from hauberk.xds.resource import Resource

Resources = tuple[Resource, ...]
Policies = tuple[AuthorizationPolicy, ...]
Part = TypeVar("Part", bound=Hashable)
# Shapes of policies that are no more are remembered beside those in use, up to this many.
_SPARE: Final = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """All that the inbound listener and routes of a workload depend on. A thousand workloads have few shapes.

    Policies are compared by identity (`which`, `limiting`): comparing their text for each workload would cost more than it saves.
    `written`: headers that the sidecar writes of what it has found out.
    `reachable`: there is an authorizer for CUSTOM policies; `own_port`: it is the workload itself, which cannot ask itself there.
    """

    ports: tuple[InboundPort, ...]
    mode: MtlsMode
    which: tuple[int, ...]
    ipv6: bool
    tokens: tuple[TokenPlace, ...]
    origins: tuple[str, ...]
    limiting: tuple[int, ...]
    reachable: bool
    own_port: int | None
    written: tuple[str, ...]
    policies: Policies = field(compare=False, repr=False)
    limits: tuple[RateLimitPolicy, ...] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Way:
    """All that the clusters towards a workload's program depend on. A policy is no part of it: it changes far more often."""

    ports: tuple[InboundPort, ...]
    addresses: tuple[str, ...]
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """Whose tokens are verified, compared by identity: a thousand workloads share few such tuples, and each its keys."""

    which: tuple[int, ...]
    tokens: tuple[TokenRule, ...] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom CUSTOM policies ask, by name: of one name there is one."""

    name: str
    authorizer: Authorizer | None = field(compare=False, repr=False)

    @staticmethod
    def of(authorizer: Authorizer | NoAuthorizer | None) -> Asked:
        return Asked(authorizer.name, authorizer) if isinstance(authorizer, Authorizer) else Asked("", None)


def translate_inbound(snapshot: MeshSnapshot, pod: ObjectKey) -> Resources:
    """What only the sidecar of `pod` is told; empty if it has none. The very same tuple as last time if nothing of it changed."""
    inbound = snapshot.inbound.get(pod)
    if inbound is None:
        return ()
    inbounds = snapshot.reuse(_Inbounds, limits_of(snapshot), authorizers_of(snapshot))
    return inbounds.translate(inbound, snapshot.workloads[pod], snapshot.inbound)


class _Inbounds:
    """What was made for each workload and what many of them share, for as long as the mesh's limits stay the same.

    Workload by workload, when its proxy is there to be told: one that cannot be translated stops no other, and pods whose
    proxies are served elsewhere cost nothing.
    """

    def __init__(self, limits: Limits, authorizers: Authorizers) -> None:
        self._limits = limits
        self._authorizers = authorizers
        self._own: dict[ObjectKey, tuple[Inbound, Resources]] = {}
        self._guards: dict[Shape, Resources] = {}
        self._clusters: dict[Way, Resources] = {}
        self._tokens: dict[Verified, Resources] = {}
        self._asked: dict[Asked, Resources] = {}

    def translate(self, inbound: Inbound, workload: Workload, living: Collection[ObjectKey]) -> Resources:
        key = inbound.workload
        before = self._own.get(key)
        if before is not None and before[0] is inbound:
            return before[1]
        self._forget(living)
        authorizer = chosen_authorizer(inbound.policies, self._authorizers)
        made = (
            *self._made(self._clusters, _clusters, _way(inbound)),
            *self._made(self._tokens, _tokens, Verified(tuple(map(id, inbound.tokens)), inbound.tokens)),
            *self._made(self._asked, _asked, Asked.of(authorizer)),
            *self._made(self._guards, _guard, _shape(inbound, authorizer, workload)),
        )
        kept = before[1] if before is not None and before[1] == made else made
        self._own[key] = (inbound, kept)
        return kept

    def _made(self, known: dict[Part, Resources], make: Callable[[Part, Limits], Resources], part: Part) -> Resources:
        found = known.get(part)
        if found is None:
            found = known[part] = make(part, self._limits)
        return found

    def _forget(self, living: Collection[ObjectKey]) -> None:
        # Twice as many as there can be in use: rarely, and never in the middle of a push to all.
        if len(self._own) > 2 * len(living):
            self._own = {key: own for key, own in self._own.items() if key in living}
        for known in (self._guards, self._clusters, self._tokens, self._asked):
            if len(known) > 2 * len(living) + _SPARE:
                known.clear()


def _shape(inbound: Inbound, authorizer: Authorizer | NoAuthorizer | None, workload: Workload) -> Shape:
    origins = tuple(str(policy.key) for policy in (*inbound.policies, *inbound.limits))
    return Shape(
        ports=inbound.ports,
        mode=inbound.mode,
        which=tuple(map(id, inbound.policies)),
        ipv6=any(":" in address for address in inbound.addresses),
        tokens=token_places(inbound.tokens),
        origins=(*origins, *inbound.mode_origins),
        limiting=tuple(map(id, inbound.limits)),
        reachable=not isinstance(authorizer, NoAuthorizer),
        own_port=own_port(authorizer, workload) if isinstance(authorizer, Authorizer) else None,
        written=(*output_headers(inbound.tokens), *_answered(authorizer)),
        policies=inbound.policies,
        limits=inbound.limits,
    )


def _answered(authorizer: Authorizer | NoAuthorizer | None) -> tuple[str, ...]:
    """Headers that the authorizer may write into a request, as far as they have one name."""
    if not isinstance(authorizer, Authorizer) or not isinstance(authorizer.asks, EnvoyExtAuthzHttp):
        return ()
    return tuple(name.lower() for name in authorizer.asks.headers_to_upstream_on_allow if "*" not in name)


def _guard(shape: Shape, limits: Limits) -> Resources:
    rules = HttpRules(shape.policies, limits.trust_domains, limits.paths, shape.limits)
    inbound_listener = virtual_inbound(shape.ports, shape.mode, limits, ipv6=shape.ipv6)
    outbound_listener = virtual_outbound(limits, ipv6=shape.ipv6)
    http = [port for port in shape.ports if port.protocol is not Protocol.TCP]
    places = [(str(inbound_name(port.number)), port.number, port.protocol, port.mode) for port in http]
    others = RouteFilters(shape.policies, shape.limits, limits.trust_domains, shape.written)
    routes = [
        inbound_routes(
            name,
            name,
            {
                **rules.at(number),
                **others.at(number, reachable=shape.reachable and (number is None or number != shape.own_port)),
                **token_filters(shape.tokens),
            },
            others.limiting,
            grpc=protocol is Protocol.GRPC,
            strict=mode is MtlsMode.STRICT,
        )
        for name, number, protocol, mode in (*places, (INBOUND_PASSTHROUGH, None, Protocol.SNIFFED, shape.mode))
    ]
    return (
        encode_resource(inbound_listener, inbound_listener.name, shape.origins),
        encode_resource(outbound_listener, outbound_listener.name),
        *encode_decisions(shape.policies, limits.trust_domains, shape.origins),
        *(encode_resource(route, route.name, shape.origins) for route in routes),
    )


def _tokens(verified: Verified, _: Limits) -> Resources:
    return (encode_tokens(verified.tokens),)


def _asked(asked: Asked, _: Limits) -> Resources:
    return (encode_ext_authz(asked.authorizer),)


def _way(inbound: Inbound) -> Way:
    return Way(inbound.ports, inbound.addresses, inbound.service_origins)


def _clusters(way: Way, limits: Limits) -> Resources:
    made = (inbound_cluster(port, way.addresses, limits) for port in way.ports)
    return tuple(encode_resource(cluster, cluster.name, way.origins) for cluster in made)
