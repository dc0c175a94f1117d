"""What all listeners have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3 import socket_option_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.type.v3 import range_pb2

from hauberk.envoy.message import any_, socket_address
from hauberk.envoy.name import ANY_IPV4
from hauberk.translate.connection import OUTBOUND_MARK

Listener = listener_pb2.Listener
FilterChain = listener_components_pb2.FilterChain
FilterChainMatch = listener_components_pb2.FilterChainMatch
ListenerFilter = listener_components_pb2.ListenerFilter
Predicate = listener_components_pb2.ListenerFilterChainMatchPredicate

ANY_IPV6: Final = "::"

# What the HTTP inspector says of plain bytes that are HTTP.
PLAIN_HTTP: Final = ("http/1.0", "http/1.1", "h2c")

_SOL_SOCKET, _SO_KEEPALIVE, _SO_MARK = 1, 9, 36
_IPPROTO_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL, _TCP_KEEPCNT = 6, 4, 5, 6
_KEEPALIVE: Final = (
    (_SOL_SOCKET, _SO_KEEPALIVE, 1),
    (_IPPROTO_TCP, _TCP_KEEPIDLE, 120),
    (_IPPROTO_TCP, _TCP_KEEPINTVL, 30),
    (_IPPROTO_TCP, _TCP_KEEPCNT, 4),
)


def set_addresses(listener: Listener, addresses: Iterable[str], port: int) -> None:
    """`listener` answers on `port` of all `addresses`."""
    first, *others = addresses
    listener.address.CopyFrom(socket_address(first, port))
    for address in others:
        listener.additional_addresses.add().address.CopyFrom(socket_address(address, port))


def wildcard(*, ipv6: bool) -> tuple[str, ...]:
    return (ANY_IPV4, ANY_IPV6) if ipv6 else (ANY_IPV4,)


def capturing() -> list[socket_option_pb2.SocketOption]:
    """Options of a capture port's sockets, and of those it accepts: marked as Envoy's, and they notice that their peer is gone.

    The pod's rules let nobody answer on a capture port without the mark: a program cannot take the port, not even while Envoy is dead.
    """
    state = socket_option_pb2.SocketOption.STATE_PREBIND
    options = (*_KEEPALIVE, (_SOL_SOCKET, _SO_MARK, OUTBOUND_MARK))
    return [socket_option_pb2.SocketOption(level=level, name=name, int_value=value, state=state) for level, name, value in options]


def original_destination() -> ListenerFilter:
    return ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=any_(original_dst_pb2.OriginalDst()))


def tls_inspector(not_on: Iterable[int] = ()) -> ListenerFilter:
    """Looks for a TLS greeting, but on the ports `not_on`."""
    return ListenerFilter(
        name="envoy.filters.listener.tls_inspector", typed_config=any_(tls_inspector_pb2.TlsInspector()), filter_disabled=_ports(not_on)
    )


def http_inspector(not_on: Iterable[int] = ()) -> ListenerFilter:
    """Looks for HTTP, but on the ports `not_on`."""
    return ListenerFilter(
        name="envoy.filters.listener.http_inspector", typed_config=any_(http_inspector_pb2.HttpInspector()), filter_disabled=_ports(not_on)
    )


def _ports(ports: Iterable[int]) -> Predicate | None:
    rules = [Predicate(destination_port_range=range_pb2.Int32Range(start=port, end=port + 1)) for port in ports]
    if len(rules) < 2:
        return rules[0] if rules else None
    return Predicate(or_match=Predicate.MatchSet(rules=rules))
