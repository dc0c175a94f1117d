"""The TCP side of a filter chain: bytes between the caller and a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from hauberk.envoy.message import any_, duration, uint32
from hauberk.envoy.name import AUTHORIZED, BLACK_HOLE, INBOUND_PASSTHROUGH
from hauberk.translate.access_log import DECISION_STATE, ESTABLISHED_STATE, INBOUND_CONNECTION, OUTBOUND_CONNECTION, access_log
from hauberk.translate.certificate_end import age_of_caller, ages, by_age, times_of_caller
from hauberk.translate.connection import BUFFER_LIMIT
from hauberk.translate.connection_state import CLUSTER_STATE, State, after_handshake, keeping, on_accept, state, when_it_comes
from hauberk.translate.limits import Limits
from hauberk.translate.one_identity import NAMES_STATE, PEER_NAMES, if_one
from hauberk.translate.revocation import PEER_SERIAL, SERIAL_STATE, tcp_filter
from hauberk.translate.tcp_authorization import ALLOW, ALLOWED

TcpProxy = tcp_proxy_pb2.TcpProxy
Filter = listener_components_pb2.Filter

# Where a cluster that goes to the original destination goes instead.
_TARGET_STATE: Final = "envoy.network.transport_socket.original_dst_address"
_CONNECT_ATTEMPTS: Final = 3


def outbound_tcp(cluster: str) -> Filter:
    """Connections of the pod's program; if one endpoint does not answer, the next is tried."""
    proxy = _proxy(cluster, OUTBOUND_CONNECTION)
    proxy.max_connect_attempts.CopyFrom(uint32(_CONNECT_ATTEMPTS))
    return _filter(proxy)


def inbound_tcp(cluster: str, decision: str | None) -> tuple[Filter, ...]:
    """Connections to the pod's program, if `decision` (CEL; None: there is nothing to decide) says so."""
    # Whatever goes wrong with the decision, the connection is closed.
    proxy = _filter(_proxy(cluster if decision is None else BLACK_HOLE, INBOUND_CONNECTION))
    return (proxy,) if decision is None else (keeping(when_it_comes(_decided(cluster, decision))), proxy)


def inbound_mutual_tcp(cluster: str, decision: str | None, limits: Limits) -> tuple[Filter, ...]:
    """The same through mutual TLS: the program is connected to when the caller has proven its identity, not before.

    Everything that may refuse a caller does so at that moment. At its first byte would be too late: a server that speaks first has
    greeted it by then, and one that only sends would go on.
    """
    proxy = _proxy(AUTHORIZED, INBOUND_CONNECTION)
    proxy.upstream_connect_mode = tcp_proxy_pb2.UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
    proxy.max_early_data_bytes.CopyFrom(uint32(BUFFER_LIMIT))
    proxy.max_downstream_connection_duration.CopyFrom(duration(limits.connection_age))
    decided = (state(NAMES_STATE, PEER_NAMES), *_decided(cluster, if_one(decision or ALLOWED), upstream=True))
    return keeping(after_handshake((*decided, *times_of_caller(limits.connection_age)))), tcp_filter(), _filter(proxy)


def authorized_listener(limits: Limits) -> listener_pb2.Listener:
    """Where connections go on whose callers have been looked at.

    A proxy chooses its cluster when the connection comes, which is before the handshake; this second one chooses after it.
    Without a choice it leads nowhere.
    """
    named = ages(limits.connection_age)
    return listener_pb2.Listener(
        name=AUTHORIZED,
        internal_listener=listener_pb2.Listener.InternalListenerConfig(),
        listener_filters=[on_accept(age_of_caller(limits.connection_age))] if named else (),
        filter_chains=[_authorized(AUTHORIZED, None), *(_authorized(name, age) for name, age in named.items())],
        filter_chain_matcher=by_age(limits.connection_age, AUTHORIZED) if named else None,
        per_connection_buffer_limit_bytes=uint32(BUFFER_LIMIT),
    )


def _authorized(name: str, age: timedelta | None) -> listener_components_pb2.FilterChain:
    proxy = TcpProxy(stat_prefix=AUTHORIZED, cluster=BLACK_HOLE, idle_timeout=duration(0))
    if age is not None:
        proxy.max_downstream_connection_duration.CopyFrom(duration(age))
    return listener_components_pb2.FilterChain(name=name, filters=[_filter(proxy)])


def remember(key: str, text: str, *, factory: str = "envoy.string", upstream: bool = False) -> Filter:
    """`text` (an access log format) is kept under `key` with the connection; `upstream`: also with the one that it causes."""
    return keeping(when_it_comes([state(key, text, factory=factory, upstream=upstream)]))


def remember_established(*, mutual: bool) -> Filter:
    """The connection is marked as soon as it is good for something; what is never marked is a failure to be recorded.

    With the mark a `mutual` one gets the serial of its caller's certificate: it may be revoked while the connection lives.
    """
    mark = state(ESTABLISHED_STATE, "1")
    return keeping(after_handshake([mark, state(SERIAL_STATE, PEER_SERIAL)]) if mutual else when_it_comes([mark]))


def _decided(cluster: str, decision: str, *, upstream: bool = False) -> list[State]:
    # It is evaluated twice: CEL here cannot read as text what was kept before.
    chosen = f"({decision}).startsWith('{ALLOW}') ? '{cluster}' : '{BLACK_HOLE}'"
    states = [
        state(DECISION_STATE, f"%CEL({decision})%", upstream=upstream),
        state(CLUSTER_STATE, f"%CEL({chosen})%", factory=CLUSTER_STATE, upstream=upstream),
    ]
    if cluster == INBOUND_PASSTHROUGH:
        # It asks the connection where it was going, and the second listener's connection was going nowhere by itself.
        states.append(state(_TARGET_STATE, "%DOWNSTREAM_LOCAL_ADDRESS%", factory=_TARGET_STATE, upstream=upstream))
    return states


def _proxy(cluster: str, keys: Mapping[str, str]) -> TcpProxy:
    return TcpProxy(
        stat_prefix=cluster,
        cluster=cluster,
        access_log=[access_log(keys)],
        # A connection may be silent for as long as its programs like; dead peers are found by keep-alive.
        idle_timeout=duration(0),
    )


def _filter(proxy: TcpProxy) -> Filter:
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=any_(proxy))
