"""Listeners for what the pod's program sends. Only `virtualOutbound` has a socket; it hands connections to the others by destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from envoy.config.core.v3 import base_pb2

from hauberk.envoy.message import boolean, duration, uint32
from hauberk.envoy.name import ANY_IPV4, BLACK_HOLE, PASSTHROUGH, VIRTUAL_OUTBOUND, outbound
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.translate.connection import BUFFER_LIMIT
from hauberk.translate.http import outbound_http
from hauberk.translate.limits import Limits
from hauberk.translate.listener import (
    PLAIN_HTTP,
    FilterChain,
    FilterChainMatch,
    Listener,
    capturing,
    http_inspector,
    set_addresses,
    wildcard,
)
from hauberk.translate.routes import DESTINATION_STATE
from hauberk.translate.tcp import outbound_tcp, remember
from hauberk.translate.tls import ALPN_TCP

OUTBOUND_PORT: Final = 15001

# What the connection to the other sidecar offers instead of what its cluster says.
_ALPN_STATE: Final = "envoy.network.application_protocols"


def virtual_outbound(limits: Limits, *, ipv6: bool) -> Listener:
    """Everything that leaves the program arrives here; what no other listener takes leaves the mesh, or does not."""
    listener = _listener(VIRTUAL_OUTBOUND, wildcard(ipv6=ipv6), OUTBOUND_PORT)
    listener.use_original_dst.CopyFrom(boolean(True))
    listener.enable_reuse_port.CopyFrom(boolean(False))  # a program of the same user could share a port that may be shared
    listener.filter_chains.append(_unknown(limits))
    listener.socket_options.extend(capturing())
    return listener


def http_listener(port: int, limits: Limits, *, ipv6: bool) -> Listener:
    """Port `port` of every address, if what comes is HTTP; the Host header tells the service."""
    name = f"{ANY_IPV4}_{port}"
    listener = _inner(name, wildcard(ipv6=ipv6), port)
    listener.filter_chains.append(
        FilterChain(
            name=name,
            filter_chain_match=FilterChainMatch(application_protocols=PLAIN_HTTP),
            filters=[remember(DESTINATION_STATE, "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"), outbound_http(name, str(port))],
        )
    )
    # TLS or anything else to this port of a host outside: its bytes are passed on unread.
    listener.default_filter_chain.CopyFrom(_unknown(limits))
    listener.listener_filters.append(http_inspector())
    # Clients of HTTP speak first, but not always at once: a connection may be opened in advance. It is waited for.
    listener.listener_filters_timeout.CopyFrom(duration(0))
    return listener


def tcp_listener(service: MeshService, port: MeshPort, addresses: Sequence[str]) -> Listener:
    """Connections to `port` of `service`, on its own `addresses`."""
    listener = _inner(f"{addresses[0]}_{port.port}", addresses, port.port)
    listener.filter_chains.append(FilterChain(name=listener.name, filters=[outbound_tcp(str(outbound(port.port, service.host)))]))
    return listener


def sniffed_listener(service: MeshService, port: MeshPort, addresses: Sequence[str], limits: Limits) -> Listener:
    """As `tcp_listener`, but HTTP is taken for HTTP. A client that does not speak within the time of detection speaks TCP."""
    listener = tcp_listener(service, port, addresses)
    (plain,) = listener.filter_chains
    listener.default_filter_chain.CopyFrom(
        FilterChain(name=plain.name, filters=[remember(_ALPN_STATE, ALPN_TCP, factory=_ALPN_STATE, upstream=True), *plain.filters])
    )
    del listener.filter_chains[:]
    http = outbound_http(listener.name, f"{service.host}:{port.port}")
    listener.filter_chains.append(
        FilterChain(name=listener.name, filter_chain_match=FilterChainMatch(application_protocols=PLAIN_HTTP), filters=[http])
    )
    listener.listener_filters.append(http_inspector())
    listener.listener_filters_timeout.CopyFrom(duration(limits.detection))
    listener.continue_on_listener_filters_timeout = True
    return listener


def _unknown(limits: Limits) -> FilterChain:
    cluster = BLACK_HOLE if limits.registry_only else PASSTHROUGH
    return FilterChain(name=cluster, filters=[outbound_tcp(cluster)])


def _inner(name: str, addresses: Sequence[str], port: int) -> Listener:
    listener = _listener(name, addresses, port)
    listener.bind_to_port.CopyFrom(boolean(False))
    return listener


def _listener(name: str, addresses: Sequence[str], port: int) -> Listener:
    listener = Listener(
        name=name, traffic_direction=base_pb2.TrafficDirection.OUTBOUND, per_connection_buffer_limit_bytes=uint32(BUFFER_LIMIT)
    )
    set_addresses(listener, addresses, port)
    return listener
