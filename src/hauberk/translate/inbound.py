"""What guards a workload: its listener, the rules of its ports, and the way to its program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.envoy.name import INBOUND_PASSTHROUGH
from hauberk.envoy.name import inbound as inbound_name
from hauberk.mesh.inbound import Inbound, InboundPort
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.reuse import Reuse
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.translate.clusters import inbound_cluster
from hauberk.translate.encode import encode_resource
from hauberk.translate.inbound_listener import virtual_inbound
from hauberk.translate.limits import Limits
from hauberk.translate.outbound import limits_of
from hauberk.translate.outbound_listeners import virtual_outbound
from hauberk.translate.rbac import HttpRules, http_rules
from hauberk.translate.routes import inbound_routes
from hauberk.xds.resource import Resource

Resources = tuple[Resource, ...]
Policies = tuple[AuthorizationPolicy, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """All that the inbound listener and routes of a workload depend on. A thousand workloads have few shapes.

    Policies are compared by identity (`which`): comparing their text for each workload would cost more than it saves.
    """

    ports: tuple[InboundPort, ...]
    mode: MtlsMode
    which: tuple[int, ...]
    ipv6: bool
    origins: tuple[str, ...]
    policies: Policies = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Way:
    """All that the clusters towards a workload's program depend on. A policy is no part of it: it changes far more often."""

    ports: tuple[InboundPort, ...]
    addresses: tuple[str, ...]
    origins: tuple[str, ...]


def translate_inbound(snapshot: MeshSnapshot) -> Mapping[ObjectKey, Resources]:
    """For every workload with a sidecar what only that sidecar is told."""
    return snapshot.reuse(_translate, snapshot.inbound, limits_of(snapshot), snapshot.reuse)


def _translate(inbounds: Mapping[ObjectKey, Inbound], limits: Limits, reuse: Reuse) -> Mapping[ObjectKey, Resources]:
    items = {key: (inbound,) for key, inbound in inbounds.items()}
    shapes = reuse.each(_shape, items)
    rules = reuse.each(_rules, {shape.which: shape.policies for shape in shapes.values()}, limits)
    distinct = {shape: (shape, rules[shape.which]) for shape in shapes.values()}
    guards = reuse.each(_guard, distinct, limits)
    ways = reuse.each(_way, items)
    clusters = reuse.each(_clusters, {key: (way,) for key, way in ways.items()}, limits)
    return reuse.each(_join, {key: (guards[shape], clusters[key]) for key, shape in shapes.items()})


def _shape(inbound: Inbound) -> Shape:
    origins = tuple(str(policy.key) for policy in inbound.policies)
    return Shape(
        ports=inbound.ports,
        mode=inbound.mode,
        which=tuple(map(id, inbound.policies)),
        ipv6=any(":" in address for address in inbound.addresses),
        origins=(*origins, *inbound.mode_origins),
        policies=inbound.policies,
    )


def _rules(*arguments: AuthorizationPolicy | Limits) -> HttpRules:
    policies = [each for each in arguments if isinstance(each, AuthorizationPolicy)]
    (limits,) = (each for each in arguments if isinstance(each, Limits))
    return http_rules(policies, limits.trust_domain)


def _guard(shape: Shape, rules: HttpRules, limits: Limits) -> Resources:
    inbound_listener = virtual_inbound(shape.ports, shape.mode, shape.policies, limits, ipv6=shape.ipv6)
    outbound_listener = virtual_outbound(limits, ipv6=shape.ipv6)
    names = [(str(inbound_name(port.number)), port.protocol) for port in shape.ports if port.protocol is not Protocol.TCP]
    routes = [inbound_routes(name, name, rules, grpc=p is Protocol.GRPC) for name, p in (*names, (INBOUND_PASSTHROUGH, Protocol.SNIFFED))]
    return (
        encode_resource(inbound_listener, inbound_listener.name, shape.origins),
        encode_resource(outbound_listener, outbound_listener.name),
        *(encode_resource(route, route.name, shape.origins) for route in routes),
    )


def _way(inbound: Inbound) -> Way:
    return Way(inbound.ports, inbound.addresses, inbound.service_origins)


def _clusters(way: Way, limits: Limits) -> Resources:
    made = (inbound_cluster(port, way.addresses, limits) for port in way.ports)
    return tuple(encode_resource(cluster, cluster.name, way.origins) for cluster in made)


def _join(guard: Resources, clusters: Resources) -> Resources:
    return tuple(chain(clusters, guard))
