"""Clusters: where connections go, and how."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, protocol_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.transport_sockets.internal_upstream.v3 import internal_upstream_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from google.protobuf import any_pb2

from hauberk.envoy.message import ads, any_, duration, socket_address, struct, uint32
from hauberk.envoy.name import AUTHORIZED, BLACK_HOLE, INBOUND_PASSTHROUGH, PASSTHROUGH, inbound
from hauberk.envoy.name import outbound as outbound_name
from hauberk.mesh.endpoints import ServicePeers
from hauberk.mesh.inbound import InboundPort
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.translate import connection
from hauberk.translate.limits import Limits
from hauberk.translate.tls import ALPN_HTTP, ALPN_TCP, held_certificate, upstream_tls

Cluster = cluster_pb2.Cluster

# Metadata of an endpoint by which Envoy picks the transport socket.
TLS_MODE: Final = "tlsMode"
PLAIN: Final = "plain"

# Programs close idle connections when they like, and a request that is under way at that moment is lost. Ours are closed before
# most programs' are (2 seconds is the shortest common keep-alive); a new connection inside the pod costs next to nothing.
_IDLE_TO_PROGRAM: Final = timedelta(seconds=1)
_RAW: Final = base_pb2.TransportSocket(name="raw", typed_config=any_(raw_buffer_pb2.RawBuffer()))


def outbound_cluster(service: MeshService, port: MeshPort, peers: ServicePeers, identities: Iterable[str], limits: Limits) -> Cluster:
    """The pods behind `port` of `service`; those of a headless service are found by the address that the program chose."""
    name = outbound_name(port.port, service.host)
    cluster = _cluster(str(name), limits)
    connection.set_http(cluster, _outbound_http(port.protocol, peers, limits))
    tls = upstream_tls(identities, name.sni, _alpn(port.protocol, peers), limits.tls)
    if service.headless:
        cluster.type = Cluster.DiscoveryType.ORIGINAL_DST
        cluster.lb_policy = Cluster.LbPolicy.CLUSTER_PROVIDED
        if peers.mtls:
            cluster.transport_socket.CopyFrom(tls)
        return cluster
    cluster.type = Cluster.DiscoveryType.EDS
    cluster.eds_cluster_config.eds_config.CopyFrom(ads())
    cluster.lb_policy = Cluster.LbPolicy.LEAST_REQUEST
    # When all endpoints are unhealthy there is nobody to ask: without this Envoy asks anybody.
    cluster.common_lb_config.healthy_panic_threshold.value = 0
    # Another mode makes another cluster: connections made in the old mode are brought to an end, and none carries a new request. A
    # caller that went on in plain would be nobody to a policy.
    if peers.mtls:
        # One socket for all, whatever is said of an endpoint: nothing could be sent to it in plain.
        cluster.transport_socket.CopyFrom(tls)
    else:
        cluster.transport_socket_matches.extend(_by_endpoint(tls))
    return cluster


def _by_endpoint(tls: base_pb2.TransportSocket) -> Iterable[Cluster.TransportSocketMatch]:
    # Plain is what has to be said: an endpoint of which nothing is known is not spoken to in plain by mistake.
    yield Cluster.TransportSocketMatch(name=f"{TLS_MODE}-{PLAIN}", match=struct(**{TLS_MODE: PLAIN}), transport_socket=_RAW)
    yield Cluster.TransportSocketMatch(name=f"{TLS_MODE}-mutual", transport_socket=tls)


def passthrough_cluster(limits: Limits) -> Cluster:
    """Destinations that the mesh does not know, reached as the program asked."""
    return _original_destination(PASSTHROUGH, limits, connection.common_http_options())


def inbound_passthrough_cluster(limits: Limits) -> Cluster:
    """Ports of the program that nothing declares."""
    cluster = _original_destination(INBOUND_PASSTHROUGH, limits, connection.common_http_options(idle=_IDLE_TO_PROGRAM))
    cluster.upstream_bind_config.CopyFrom(connection.marked(connection.INBOUND_MARK))
    return cluster


def black_hole_cluster() -> Cluster:
    """Nowhere. Because nobody ever connects to it, it is the one that keeps the certificate for calls."""
    return Cluster(name=BLACK_HOLE, type=Cluster.DiscoveryType.STATIC, connect_timeout=duration(1), transport_socket=held_certificate())


def authorized_cluster() -> Cluster:
    """This Envoy's own second listener, where a TCP connection goes on whose caller has been looked at."""
    address = address_pb2.Address(envoy_internal_address=address_pb2.EnvoyInternalAddress(server_listener_name=AUTHORIZED))
    endpoint = endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=address))
    group = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint])
    return Cluster(
        name=AUTHORIZED,
        type=Cluster.DiscoveryType.STATIC,
        connect_timeout=duration(5),
        per_connection_buffer_limit_bytes=uint32(connection.BUFFER_LIMIT),
        circuit_breakers=connection.circuit_breakers(),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(cluster_name=AUTHORIZED, endpoints=[group]),
        # Takes along what is kept with the connection: the decision, and the cluster that it leads to.
        transport_socket=base_pb2.TransportSocket(
            name="internal", typed_config=any_(internal_upstream_pb2.InternalUpstreamTransport(transport_socket=_RAW))
        ),
    )


def inbound_cluster(port: InboundPort, addresses: tuple[str, ...], limits: Limits) -> Cluster:
    """The program's port, wherever it listens: the pod's addresses are tried first, loopback after them."""
    name = str(inbound(port.number))
    cluster = _cluster(name, limits)
    cluster.type = Cluster.DiscoveryType.STATIC
    cluster.upstream_bind_config.CopyFrom(connection.marked(connection.INBOUND_MARK))
    cluster.load_assignment.CopyFrom(_program(name, port.number, addresses))
    connection.set_http(cluster, _program_http(port.protocol))
    return cluster


def _program_http(protocol: Protocol) -> any_pb2.Any | None:
    common = connection.common_http_options(idle=_IDLE_TO_PROGRAM)
    match protocol:
        case Protocol.HTTP:
            return connection.speaks_http1(common)
        case Protocol.HTTP2 | Protocol.GRPC:
            return connection.speaks_http2(connection.common_http_options())
        case Protocol.SNIFFED:
            return connection.speaks_as_asked(common)
        case Protocol.TCP:
            return None


def _program(name: str, port: int, addresses: tuple[str, ...]) -> endpoint_pb2.ClusterLoadAssignment:
    tried = [*addresses, "127.0.0.1"]
    if any(":" in address for address in addresses):
        tried.append("::1")
    endpoint = endpoint_components_pb2.Endpoint(address=socket_address(tried[0], port))
    # One endpoint with several addresses: a refused one is followed by the next at once.
    for address in tried[1:]:
        endpoint.additional_addresses.add().address.CopyFrom(socket_address(address, port))
    group = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint_components_pb2.LbEndpoint(endpoint=endpoint)])
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[group])


def _cluster(name: str, limits: Limits) -> Cluster:
    return Cluster(
        name=name,
        connect_timeout=duration(limits.connect_timeout),
        per_connection_buffer_limit_bytes=uint32(connection.BUFFER_LIMIT),
        circuit_breakers=connection.circuit_breakers(),
    )


def _original_destination(name: str, limits: Limits, common: protocol_pb2.HttpProtocolOptions) -> Cluster:
    cluster = _cluster(name, limits)
    cluster.type = Cluster.DiscoveryType.ORIGINAL_DST
    cluster.lb_policy = Cluster.LbPolicy.CLUSTER_PROVIDED
    connection.set_http(cluster, connection.speaks_as_asked(common))
    return cluster


def _outbound_http(protocol: Protocol, peers: ServicePeers, limits: Limits) -> any_pb2.Any | None:
    common = connection.common_http_options(max_age=limits.requests_age)
    if protocol is Protocol.TCP:
        return None
    if protocol.is_http2 or (protocol.is_http and peers.meshed):
        # Between sidecars one HTTP/2 connection carries all requests, whatever the programs speak.
        return connection.speaks_http2(common, keepalive=True)
    return connection.speaks_as_asked(common)


def _alpn(protocol: Protocol, peers: ServicePeers) -> tuple[str, ...]:
    if protocol is Protocol.TCP:
        return (ALPN_TCP,)
    # `h2` only where HTTP/2 is what will be spoken: the two sides would agree on it and one would speak HTTP/1.
    return (ALPN_HTTP, "h2") if protocol.is_http2 or (protocol.is_http and peers.meshed) else (ALPN_HTTP,)
