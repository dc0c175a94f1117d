"""The TCP side of a filter chain: bytes between the caller and a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from hauberk.envoy.message import any_, duration, encode, uint32, with_newer
from hauberk.envoy.name import AUTHORIZED, BLACK_HOLE, INBOUND_PASSTHROUGH
from hauberk.translate.access_log import DECISION_STATE, ESTABLISHED_STATE, INBOUND_CONNECTION, OUTBOUND_CONNECTION, access_log
from hauberk.translate.connection import BUFFER_LIMIT
from hauberk.translate.limits import Limits
from hauberk.translate.revocation import PEER_SERIAL, SERIAL_STATE, tcp_filter
from hauberk.translate.tcp_authorization import ALLOW

TcpProxy = tcp_proxy_pb2.TcpProxy
Filter = listener_components_pb2.Filter
FilterStateValue = value_pb2.FilterStateValue

# Which cluster the proxy takes instead of its own, if this is set on the connection.
_CLUSTER_STATE: Final = "envoy.tcp_proxy.cluster"
# Where a cluster that goes to the original destination goes instead.
_TARGET_STATE: Final = "envoy.network.transport_socket.original_dst_address"
_ON_TLS_HANDSHAKE: Final = 2  # field number of Config.on_downstream_tls_handshake
_CONNECT_ATTEMPTS: Final = 3


def outbound_tcp(cluster: str) -> Filter:
    """Connections of the pod's program; if one endpoint does not answer, the next is tried."""
    proxy = _proxy(cluster, OUTBOUND_CONNECTION)
    proxy.max_connect_attempts.CopyFrom(uint32(_CONNECT_ATTEMPTS))
    return _filter(proxy)


def inbound_tcp(cluster: str, decision: str | None, limits: Limits, *, mutual: bool) -> tuple[Filter, ...]:
    """Connections to the pod's program, if `decision` (CEL; None: there is nothing to decide) says so.

    Through mutual TLS the program is connected to when the caller has proven its identity, not before.
    """
    proxy = _proxy(_next(cluster, decision, mutual=mutual), INBOUND_CONNECTION)
    if mutual:
        proxy.upstream_connect_mode = tcp_proxy_pb2.UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
        proxy.max_early_data_bytes.CopyFrom(uint32(BUFFER_LIMIT))
        proxy.max_downstream_connection_duration.CopyFrom(duration(limits.connection_age))
    deciding = () if decision is None else (_decide(cluster, decision, mutual=mutual),)
    return (*((tcp_filter(),) if mutual else ()), *deciding, _filter(proxy))


def authorized_listener() -> listener_pb2.Listener:
    """Where connections go on whose callers have been looked at.

    A proxy chooses its cluster when the connection comes, which is before the handshake; this second one chooses after it.
    Without a choice it leads nowhere.
    """
    proxy = TcpProxy(stat_prefix=AUTHORIZED, cluster=BLACK_HOLE, idle_timeout=duration(0))
    return listener_pb2.Listener(
        name=AUTHORIZED,
        internal_listener=listener_pb2.Listener.InternalListenerConfig(),
        filter_chains=[listener_components_pb2.FilterChain(name=AUTHORIZED, filters=[_filter(proxy)])],
        per_connection_buffer_limit_bytes=uint32(BUFFER_LIMIT),
    )


def _next(cluster: str, decision: str | None, *, mutual: bool) -> str:
    if decision is None:
        return cluster
    # Whatever goes wrong with the decision, the connection is closed.
    return AUTHORIZED if mutual else BLACK_HOLE


def remember(key: str, text: str, *, factory: str = "envoy.string", upstream: bool = False) -> Filter:
    """`text` (an access log format) is kept under `key` with the connection; `upstream`: also with the one that it causes."""
    state = FilterStateValue(object_key=key, factory_key=factory, format_string=_format(text))
    if upstream:
        state.shared_with_upstream = FilterStateValue.SharedWithUpstream.ONCE
    return _set_state(set_filter_state_pb2.Config(on_new_connection=[state]))


def remember_established(*, mutual: bool) -> Filter:
    """The connection is marked as soon as it is good for something; what is never marked is a failure to be recorded.

    With the mark a `mutual` one gets the serial of its caller's certificate: it may be revoked while the connection lives.
    """
    state = FilterStateValue(object_key=ESTABLISHED_STATE, factory_key="envoy.string", format_string=_format("1"))
    if mutual:
        serial = FilterStateValue(object_key=SERIAL_STATE, factory_key="envoy.string", format_string=_format(PEER_SERIAL))
        config = with_newer(set_filter_state_pb2.Config(), _ON_TLS_HANDSHAKE, encode(state))
        return _set_state(with_newer(config, _ON_TLS_HANDSHAKE, encode(serial)))
    return _set_state(set_filter_state_pb2.Config(on_new_connection=[state]))


def _decide(cluster: str, decision: str, *, mutual: bool) -> Filter:
    # It is evaluated twice: CEL here cannot read as text what was kept before.
    chosen = f"({decision}).startsWith('{ALLOW}') ? '{cluster}' : '{BLACK_HOLE}'"
    states = [_state(DECISION_STATE, "envoy.string", decision), _state(_CLUSTER_STATE, _CLUSTER_STATE, chosen)]
    if cluster == INBOUND_PASSTHROUGH:
        # It asks the connection where it was going, and the second listener's connection was going nowhere by itself.
        target = _format("%DOWNSTREAM_LOCAL_ADDRESS%")
        states.append(FilterStateValue(object_key=_TARGET_STATE, factory_key=_TARGET_STATE, format_string=target))
    if mutual:
        config = set_filter_state_pb2.Config()
        for state in states:
            state.shared_with_upstream = FilterStateValue.SharedWithUpstream.ONCE
            with_newer(config, _ON_TLS_HANDSHAKE, encode(state))
    else:
        config = set_filter_state_pb2.Config(on_new_connection=states)
    return _set_state(config)


def _set_state(config: set_filter_state_pb2.Config) -> Filter:
    return Filter(name="envoy.filters.network.set_filter_state", typed_config=any_(config))


def _state(key: str, factory: str, expression: str) -> FilterStateValue:
    return FilterStateValue(object_key=key, factory_key=factory, format_string=_format(f"%CEL({expression})%"))


def _format(text: str) -> substitution_format_string_pb2.SubstitutionFormatString:
    return substitution_format_string_pb2.SubstitutionFormatString(text_format_source=base_pb2.DataSource(inline_string=text))


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
