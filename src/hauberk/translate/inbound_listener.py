"""The listener for what comes to the pod: mutual TLS by mode, protocol by port, and who may connect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from envoy.config.core.v3 import base_pb2

from hauberk.api.peer_authentication import MtlsMode
from hauberk.envoy.message import boolean, duration, uint32
from hauberk.envoy.name import INBOUND_PASSTHROUGH, VIRTUAL_INBOUND, inbound
from hauberk.mesh.inbound import InboundPort
from hauberk.mesh.protocol import Protocol
from hauberk.translate.access_log import INBOUND_FAILURE, access_log
from hauberk.translate.connection import BUFFER_LIMIT
from hauberk.translate.http import inbound_http
from hauberk.translate.limits import Limits
from hauberk.translate.listener import (
    PLAIN_HTTP,
    FilterChain,
    FilterChainMatch,
    Listener,
    capturing,
    http_inspector,
    original_destination,
    set_addresses,
    tls_inspector,
    wildcard,
)
from hauberk.translate.one_identity import one_identity, refused_connections
from hauberk.translate.tcp import inbound_mutual_tcp, inbound_tcp, remember_established
from hauberk.translate.tls import ALPN_HTTP, ALPN_TCP, downstream_tls

INBOUND_PORT: Final = 15006

# A plain caller of a server that speaks first waits for so long; a TLS greeting that comes later is not taken for one.
_GREETING: Final = 1.0

_MUTUAL_HTTP: Final = "http-mtls"


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the chains of one port are made from; `port` is None for all ports that nothing declares."""

    port: int | None
    protocol: Protocol
    mode: MtlsMode

    @property
    def cluster(self) -> str:
        return INBOUND_PASSTHROUGH if self.port is None else str(inbound(self.port))

    @property
    def strict(self) -> bool:
        return self.mode is MtlsMode.STRICT


def virtual_inbound(ports: tuple[InboundPort, ...], mode: MtlsMode, limits: Limits, *, ipv6: bool) -> Listener:
    """Everything that comes to the pod arrives here. Of policies it knows where they are asked, and not what they say."""
    guarded = [*(Guarded(port.number, port.protocol, port.mode) for port in ports), Guarded(None, Protocol.SNIFFED, mode)]
    listener = Listener(
        name=VIRTUAL_INBOUND,
        traffic_direction=base_pb2.TrafficDirection.INBOUND,
        per_connection_buffer_limit_bytes=uint32(BUFFER_LIMIT),
        enable_reuse_port=boolean(False),  # a program of the same user could share a port that may be shared
        listener_filters=[original_destination()],
        filter_chains=[chain for each in guarded for chain in _Chains(each, limits).all()],
        access_log=[access_log(INBOUND_FAILURE, refused_connections(_MUTUAL_HTTP))],
        socket_options=capturing(),
    )
    set_addresses(listener, wildcard(ipv6=ipv6), INBOUND_PORT)
    _inspect(listener, guarded)
    return listener


def _inspect(listener: Listener, guarded: list[Guarded]) -> None:
    """Only those ports are looked at where something is to be found out: looking means waiting for the client.

    Nothing here depends on whether a port is strict. Whatever differs beside its chains makes it another listener, and all that is
    open would be brought to an end; as it is, a change of modes concerns the chains that come or go with it.
    """
    plain_tcp = [g.port for g in guarded if g.port and g.protocol is Protocol.TCP and g.mode is MtlsMode.DISABLE]
    declared = [g.port for g in guarded if g.port and g.protocol is not Protocol.SNIFFED]
    listener.listener_filters.extend((tls_inspector(not_on=plain_tcp), http_inspector(not_on=declared)))
    listener.listener_filters_timeout.CopyFrom(duration(_GREETING))
    listener.continue_on_listener_filters_timeout = True


class _Chains:
    """The filter chains of one port.

    The chains for callers of the mesh are the same in every mode, so that changing the mode interrupts none of them.
    """

    def __init__(self, guarded: Guarded, limits: Limits) -> None:
        self._guarded = guarded
        self._limits = limits

    def all(self) -> Iterator[FilterChain]:
        match self._guarded.protocol:
            case Protocol.HTTP | Protocol.HTTP2 | Protocol.GRPC:
                return self._http()
            case Protocol.TCP:
                return self._tcp()
            case Protocol.SNIFFED:
                return self._sniffed()
            case other:
                assert_never(other)

    def _http(self) -> Iterator[FilterChain]:
        # Any TLS: a client with a certificate of the mesh need not know the mesh's words.
        yield self._mutual_http(FilterChainMatch(transport_protocol="tls"))
        if not self._guarded.strict:
            yield self._plain_http(FilterChainMatch())

    def _tcp(self) -> Iterator[FilterChain]:
        if self._guarded.mode is MtlsMode.DISABLE:
            # Not even looked at for TLS: a server that speaks first would be held up on every connection.
            yield self._plain_tcp("plain", FilterChainMatch())
            return
        yield self._mutual_tcp("mtls", FilterChainMatch(transport_protocol="tls", application_protocols=(ALPN_HTTP, ALPN_TCP)))
        yield from self._other_tls()
        if not self._guarded.strict:
            yield self._plain_tcp("plain", FilterChainMatch())

    def _sniffed(self) -> Iterator[FilterChain]:
        yield self._mutual_http(FilterChainMatch(transport_protocol="tls", application_protocols=(ALPN_HTTP,)))
        yield self._mutual_tcp("mtls", FilterChainMatch(transport_protocol="tls", application_protocols=(ALPN_TCP,)))
        yield from self._other_tls()
        if not self._guarded.strict:
            # Both say what they are carried by: Envoy keeps to the most specific of these and does not come back for another chain.
            yield self._plain_http(FilterChainMatch(transport_protocol="raw_buffer", application_protocols=PLAIN_HTTP))
            yield self._plain_tcp("plain", FilterChainMatch(transport_protocol="raw_buffer"))

    def _other_tls(self) -> Iterator[FilterChain]:
        """TLS without the mesh's words: mutual where that is demanded, otherwise the program's own affair."""
        match = FilterChainMatch(transport_protocol="tls")
        yield self._mutual_tcp("tls", match) if self._guarded.strict else self._plain_tcp("tls", match)

    def _mutual_http(self, match: FilterChainMatch) -> FilterChain:
        name, cluster = self._name(_MUTUAL_HTTP), self._guarded.cluster
        chain = self._chain(name, match, mutual=True)
        chain.filters.extend((one_identity(), inbound_http(name, cluster, self._limits, mutual=True)))
        chain.transport_socket.CopyFrom(downstream_tls(self._limits.trust_domains.accepted, ("h2", "http/1.1"), self._limits.tls))
        return chain

    def _plain_http(self, match: FilterChainMatch) -> FilterChain:
        name, cluster = self._name("http"), self._guarded.cluster
        chain = self._chain(name, match, mutual=False)
        chain.filters.append(inbound_http(name, cluster, self._limits, mutual=False))
        return chain

    def _mutual_tcp(self, kind: str, match: FilterChainMatch) -> FilterChain:
        chain = self._named(self._name(f"tcp-{kind}"), match)
        chain.filters.extend(inbound_mutual_tcp(self._guarded.cluster, self._limits))
        chain.transport_socket.CopyFrom(downstream_tls(self._limits.trust_domains.accepted, (), self._limits.tls))
        return chain

    def _plain_tcp(self, kind: str, match: FilterChainMatch) -> FilterChain:
        chain = self._chain(self._name(f"tcp-{kind}"), match, mutual=False)
        chain.filters.extend(inbound_tcp(self._guarded.cluster))
        return chain

    def _name(self, kind: str) -> str:
        return f"{'any' if self._guarded.port is None else self._guarded.port}-{kind}"

    def _chain(self, name: str, match: FilterChainMatch, *, mutual: bool) -> FilterChain:
        chain = self._named(name, match)
        chain.filters.append(remember_established(mutual=mutual))
        return chain

    def _named(self, name: str, match: FilterChainMatch) -> FilterChain:
        if self._guarded.port is not None:
            match.destination_port.CopyFrom(uint32(self._guarded.port))
        return FilterChain(name=name, filter_chain_match=match)
