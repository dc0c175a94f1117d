"""What proxies need to reach every service: clusters, endpoints and listeners for all, route configurations by namespace."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from hauberk.api.metadata import ObjectKey
from hauberk.envoy.message import encode, field
from hauberk.envoy.name import outbound
from hauberk.mesh.endpoints import ServiceEndpoints, ServicePeers
from hauberk.mesh.external_authorizer import Authorizer, Authorizers, find_authorizers
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.reuse import Reuse
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.mesh.workload import Workload
from hauberk.translate.authorizer_cluster import authorizer_cluster_name, authorizer_resources
from hauberk.translate.clusters import (
    authorized_cluster,
    black_hole_cluster,
    inbound_passthrough_cluster,
    outbound_cluster,
    passthrough_cluster,
)
from hauberk.translate.encode import encode_parts, encode_resource
from hauberk.translate.endpoints import load_assignment
from hauberk.translate.limits import Limits, build_limits
from hauberk.translate.outbound_listeners import http_listener, sniffed_listener, tcp_listener
from hauberk.translate.routes import any_host, domains_of, outbound_routes, service_host, unknown_hosts
from hauberk.translate.service_identity import service_identities
from hauberk.translate.tcp import authorized_listener
from hauberk.xds.resource import ROUTES, Resource

Resources = tuple[Resource, ...]
Services = Mapping[ObjectKey, MeshService]

_AUTHORIZERS = "external authorizers"
_VIRTUAL_HOSTS = 2  # field number of RouteConfiguration.virtual_hosts


def limits_of(snapshot: MeshSnapshot) -> Limits:
    return snapshot.reuse(build_limits, snapshot.config, snapshot.settings)


def translate_mesh(snapshot: MeshSnapshot) -> Resources:
    """Clusters, endpoints and listeners of all services: the same for every proxy."""
    reuse, services, limits = snapshot.reuse, snapshot.services, limits_of(snapshot)
    clusters = reuse(_all_clusters, services, snapshot.peers, limits, reuse)
    endpoints = reuse(_all_endpoints, services, snapshot.endpoints, reuse)
    headless = reuse(_headless_addresses, services, snapshot.endpoints)
    ipv6 = reuse(_has_ipv6, services, snapshot.workloads)
    listeners = reuse(_all_listeners, services, headless, limits, ipv6, reuse)
    authorizers = reuse(_all_authorizers, authorizers_of(snapshot), snapshot.peers, snapshot.endpoints, limits)
    return reuse(_join, reuse(_common, limits), clusters, endpoints, reuse(_concatenate, listeners, authorizers, scope=_AUTHORIZERS))


def authorizers_of(snapshot: MeshSnapshot) -> Authorizers:
    """Whom CUSTOM policies may ask."""
    return snapshot.reuse(find_authorizers, snapshot.config, snapshot.services, snapshot.settings.cluster_domain)


def translate_routes(snapshot: MeshSnapshot, namespace: str) -> Resources:
    """Route configurations for programs of `namespace`: only there a service goes by its short name."""
    reuse, domain = snapshot.reuse, snapshot.settings.cluster_domain
    hosts = reuse(_all_virtual_hosts, snapshot.services, namespace, domain, reuse, scope=namespace)
    shared = reuse(_shared_routes, snapshot.services, hosts, limits_of(snapshot), scope=namespace)
    sniffed = reuse(_all_sniffed_routes, snapshot.services, reuse)
    return reuse(_concatenate, shared, sniffed, scope=namespace)


def _common(limits: Limits) -> Resources:
    clusters = (passthrough_cluster(limits), inbound_passthrough_cluster(limits), black_hole_cluster(), authorized_cluster())
    listener = authorized_listener(limits)
    return (*(encode_resource(cluster, cluster.name) for cluster in clusters), encode_resource(listener, listener.name))


def _all_clusters(
    services: Services, peers: Mapping[ObjectKey, ServicePeers], limits: Limits, reuse: Reuse
) -> Mapping[ObjectKey, Resources]:
    return reuse.each(_clusters, {key: (service, peers[key]) for key, service in services.items()}, limits)


def _all_endpoints(services: Services, endpoints: Mapping[ObjectKey, ServiceEndpoints], reuse: Reuse) -> Mapping[ObjectKey, Resources]:
    return reuse.each(_endpoints, {key: (service, endpoints[key]) for key, service in services.items()})


def _all_authorizers(
    authorizers: Authorizers, peers: Mapping[ObjectKey, ServicePeers], endpoints: Mapping[ObjectKey, ServiceEndpoints], limits: Limits
) -> Resources:
    found = {authorizer_cluster_name(each): each for each in authorizers.values() if isinstance(each, Authorizer)}
    return tuple(chain.from_iterable(authorizer_resources(each, peers, endpoints, limits) for each in found.values()))


def _all_virtual_hosts(services: Services, namespace: str, domain: str, reuse: Reuse) -> Mapping[ObjectKey, Mapping[int, bytes]]:
    return reuse.each(_virtual_hosts, {key: (service,) for key, service in services.items()}, namespace, domain, scope=namespace)


def _clusters(service: MeshService, peers: ServicePeers, limits: Limits) -> Resources:
    identities = service_identities(service, peers, limits.trust_domains.names)
    made = (outbound_cluster(service, port, peers, identities, limits) for port in service.ports)
    return tuple(encode_resource(cluster, cluster.name, (str(service.key),)) for cluster in made)


def _endpoints(service: MeshService, endpoints: ServiceEndpoints) -> Resources:
    if service.headless:
        return ()
    made = (load_assignment(service, port, found) for port, found in endpoints.ports)
    return tuple(encode_resource(each, each.cluster_name, (str(service.key),)) for each in made)


def _headless_addresses(services: Services, endpoints: Mapping[ObjectKey, ServiceEndpoints]) -> Mapping[ObjectKey, tuple[str, ...]]:
    """Addresses of the pods behind each headless service: the only destinations of it that a listener can know."""
    found: dict[ObjectKey, tuple[str, ...]] = {}
    for key, service in services.items():
        if service.headless:
            pods = (endpoint.addresses for _, each in endpoints[key].ports for endpoint in each)
            found[key] = tuple(dict.fromkeys(chain.from_iterable(pods)))
    return found


def _has_ipv6(services: Services, workloads: Mapping[ObjectKey, Workload]) -> bool:
    addresses = chain(*(service.addresses for service in services.values()), *(workload.addresses for workload in workloads.values()))
    return any(":" in address for address in addresses)


def _all_listeners(
    services: Services, headless: Mapping[ObjectKey, tuple[str, ...]], limits: Limits, ipv6: bool, reuse: Reuse
) -> Resources:
    made = reuse.each(_service_listeners, {key: (service, *headless.get(key, ())) for key, service in services.items()}, limits)
    found: dict[str, Resource] = {}
    for service in sorted(services.values(), key=_age):
        for listener in made[service.key]:
            # Two headless services may name one port of one pod: the older has it.
            found.setdefault(listener.name, listener)
    return (*found.values(), *reuse(_http_listeners, services, limits, ipv6))


def _age(service: MeshService) -> tuple[object, str, str]:
    return service.age


def _service_listeners(service: MeshService, *rest: str | Limits) -> Resources:
    pods = [each for each in rest if isinstance(each, str)]
    (limits,) = (each for each in rest if isinstance(each, Limits))
    # Each pod of a headless service by itself: one that comes or goes must not end connections to the others.
    groups = [service.addresses] if service.addresses else [(address,) for address in pods]
    return tuple(
        _own_listener(service, port, addresses, limits) for port in service.ports if not port.protocol.is_http for addresses in groups
    )


def _own_listener(service: MeshService, port: MeshPort, addresses: tuple[str, ...], limits: Limits) -> Resource:
    sniffed = port.protocol is Protocol.SNIFFED
    listener = sniffed_listener(service, port, addresses, limits) if sniffed else tcp_listener(service, port, addresses)
    return encode_resource(listener, listener.name, (str(service.key),))


def _http_listeners(services: Services, limits: Limits, ipv6: bool) -> Resources:
    origins: dict[int, list[str]] = {}
    for service in services.values():
        for port in service.ports:
            if port.protocol.is_http:
                origins.setdefault(port.port, []).append(str(service.key))
    made = ((http_listener(port, limits, ipv6=ipv6), found) for port, found in sorted(origins.items()))
    return tuple(encode_resource(listener, listener.name, found) for listener, found in made)


def _virtual_hosts(service: MeshService, namespace: str, cluster_domain: str) -> Mapping[int, bytes]:
    domains = domains_of(service, namespace, cluster_domain)
    ports = (port for port in service.ports if port.protocol.is_http)
    return {port.port: field(_VIRTUAL_HOSTS, encode(service_host(service, port, domains))) for port in ports}


def _shared_routes(services: Services, hosts: Mapping[ObjectKey, Mapping[int, bytes]], limits: Limits) -> Resources:
    """For each port that speaks HTTP somewhere one configuration, put together of the services' parts that were encoded before."""
    ports = sorted({port for parts in hosts.values() for port in parts})
    return tuple(_shared_route(port, services, hosts, limits) for port in ports)


def _shared_route(number: int, services: Services, hosts: Mapping[ObjectKey, Mapping[int, bytes]], limits: Limits) -> Resource:
    having = {key: parts[number] for key, parts in hosts.items() if number in parts}
    by_address = {
        address: str(outbound(number, service.host)) for service in (services[key] for key in having) for address in service.addresses
    }
    rest = outbound_routes(str(number), [unknown_hosts(by_address, registry_only=limits.registry_only)])
    return encode_parts(ROUTES, str(number), (*having.values(), encode(rest)), map(str, having))


def _all_sniffed_routes(services: Services, reuse: Reuse) -> Resources:
    made = reuse.each(_sniffed_routes, {key: (service,) for key, service in services.items()})
    return tuple(chain.from_iterable(made.values()))


def _sniffed_routes(service: MeshService) -> Resources:
    """A configuration for each port of `service` on which HTTP may be found: no other service can be meant there."""
    ports = (port for port in service.ports if port.protocol is Protocol.SNIFFED)
    made = (outbound_routes(f"{service.host}:{port.port}", [any_host(service, port)]) for port in ports)
    return tuple(encode_resource(each, each.name, (str(service.key),)) for each in made)


def _join(
    common: Resources, clusters: Mapping[ObjectKey, Resources], endpoints: Mapping[ObjectKey, Resources], listeners: Resources
) -> Resources:
    return (*common, *chain.from_iterable(clusters.values()), *chain.from_iterable(endpoints.values()), *listeners)


def _concatenate(one: Resources, other: Resources) -> Resources:
    return one + other
