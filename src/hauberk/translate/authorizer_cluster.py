"""The way to an external authorizer: mutual TLS to a service of the mesh as for any other caller, plain to a host outside.

A cluster of its own, in which the sidecar itself calls: the shared one of a headless service goes where a program's connection went,
and what it speaks follows the program's request, neither of which there is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from hauberk.api.extension_provider import EnvoyExtAuthzGrpc
from hauberk.api.metadata import ObjectKey
from hauberk.envoy.message import boolean, duration, socket_address, uint32
from hauberk.envoy.name import ClusterName
from hauberk.mesh.endpoints import ServiceEndpoints, ServicePeers
from hauberk.mesh.external_authorizer import Authorizer
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.translate import connection
from hauberk.translate.clusters import outbound_cluster
from hauberk.translate.encode import encode_resource
from hauberk.translate.endpoints import load_assignment
from hauberk.translate.limits import Limits
from hauberk.translate.service_identity import service_identities
from hauberk.xds.resource import Resource

Cluster = cluster_pb2.Cluster

# A service needs some address to count as one whose pods are chosen by Envoy.
_CHOSEN_BY_ENVOY: Final = ("any",)


def authorizer_cluster_name(authorizer: Authorizer) -> str:
    """`outbound|9000|authorizer-grpc|authz.shop.svc.cluster.local`."""
    spoken = "grpc" if isinstance(authorizer.asks, EnvoyExtAuthzGrpc) else "http"
    return str(ClusterName("outbound", authorizer.asks.port, f"authorizer-{spoken}", authorizer.host))


def authorizer_resources(
    authorizer: Authorizer, peers: Mapping[ObjectKey, ServicePeers], endpoints: Mapping[ObjectKey, ServiceEndpoints], limits: Limits
) -> tuple[Resource, ...]:
    """The cluster, and its endpoints.

    Under a name of its own, although the service's are the same: Envoy never asks twice for what it knows, and a cluster that comes
    later would wait for it for ever.
    """
    service, port = authorizer.service, authorizer.port
    if service is None or port is None:
        cluster = _outside(authorizer, limits)
        return (encode_resource(cluster, cluster.name),)
    spoken = replace(port, protocol=_protocol(authorizer, port))
    found = peers[service.key]
    cluster = outbound_cluster(
        replace(service, addresses=_CHOSEN_BY_ENVOY), spoken, found, service_identities(service, found, limits.trust_domains.names), limits
    )
    cluster.name = authorizer_cluster_name(authorizer)
    origins = (str(service.key),)
    assignment = _assignment(cluster.name, service, port, endpoints[service.key])
    return encode_resource(cluster, cluster.name, origins), encode_resource(assignment, assignment.cluster_name, origins)


def _protocol(authorizer: Authorizer, port: MeshPort) -> Protocol:
    if isinstance(authorizer.asks, EnvoyExtAuthzGrpc):
        return Protocol.GRPC
    # HTTP/2 only where the authorizer is known to take it, by itself or by its sidecar.
    return port.protocol if port.protocol.is_http else Protocol.SNIFFED


def _assignment(name: str, service: MeshService, port: MeshPort, endpoints: ServiceEndpoints) -> endpoint_pb2.ClusterLoadAssignment:
    assignment = load_assignment(service, port, next(found for each, found in endpoints.ports if each == port))
    assignment.cluster_name = name
    return assignment


def _outside(authorizer: Authorizer, limits: Limits) -> Cluster:
    name = authorizer_cluster_name(authorizer)
    endpoint = endpoint_components_pb2.Endpoint(address=socket_address(authorizer.host, authorizer.asks.port))
    group = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint_components_pb2.LbEndpoint(endpoint=endpoint)])
    cluster = Cluster(
        name=name,
        type=Cluster.DiscoveryType.STATIC if _is_address(authorizer.host) else Cluster.DiscoveryType.STRICT_DNS,
        dns_lookup_family=Cluster.DnsLookupFamily.V4_PREFERRED,
        # A name that cannot be looked up just now must not keep a sidecar from starting.
        wait_for_warm_on_init=boolean(False),
        connect_timeout=duration(limits.connect_timeout),
        per_connection_buffer_limit_bytes=uint32(connection.BUFFER_LIMIT),
        circuit_breakers=connection.circuit_breakers(),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[group]),
    )
    grpc = isinstance(authorizer.asks, EnvoyExtAuthzGrpc)
    common = connection.common_http_options()
    connection.set_http(cluster, connection.speaks_http2(common, keepalive=True) if grpc else connection.speaks_http1(common))
    return cluster


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
