"""The TCP side of a filter chain: bytes between the caller and a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.envoy.message import any_, duration, uint32
from hauberk.envoy.name import AUTHORIZED, BLACK_HOLE, INBOUND_PASSTHROUGH
from hauberk.translate.access_log import DECISION_STATE, ESTABLISHED_STATE, INBOUND_CONNECTION, OUTBOUND_CONNECTION, access_log
from hauberk.translate.certificate_end import age_of_caller, ages, by_age, times_of_caller
from hauberk.translate.connection import BUFFER_LIMIT
from hauberk.translate.connection_state import ALLOW, CLUSTER_STATE, State, after_handshake, keeping, on_accept, state, when_it_comes
from hauberk.translate.limits import Limits
from hauberk.translate.one_identity import NAMES_STATE, PEER_NAMES
from hauberk.translate.revocation import PEER_SERIAL, SERIAL_STATE, tcp_filter
from hauberk.translate.tcp_authorization import MUTUAL, PLAIN, decided

TcpProxy = tcp_proxy_pb2.TcpProxy
Filter = listener_components_pb2.Filter
Matcher = matcher_pb2.Matcher
TypedExtensionConfig = extension_pb2.TypedExtensionConfig

# Where a cluster that goes to the original destination goes instead.
_TARGET_STATE: Final = "envoy.network.transport_socket.original_dst_address"
_ONWARD_STATE: Final = "hauberk.onward"
_CONNECT_ATTEMPTS: Final = 3


def outbound_tcp(cluster: str) -> Filter:
    """Connections of the pod's program; if one endpoint does not answer, the next is tried."""
    proxy = _proxy(cluster, OUTBOUND_CONNECTION)
    proxy.max_connect_attempts.CopyFrom(uint32(_CONNECT_ATTEMPTS))
    return _filter(proxy)


def inbound_tcp(cluster: str) -> tuple[Filter, ...]:
    """Plain connections to the pod's program, as far as policy leads them there."""
    return decided(PLAIN), _filter(_inbound_proxy(cluster))


def inbound_mutual_tcp(cluster: str, limits: Limits) -> tuple[Filter, ...]:
    """The same through mutual TLS: the program is connected to when the caller has proven its identity, not before.

    Everything that may refuse a caller does so at that moment. At its first byte would be too late: a server that speaks first has
    greeted it by then, and one that only sends would go on.
    """
    proxy = _inbound_proxy(AUTHORIZED)
    proxy.upstream_connect_mode = tcp_proxy_pb2.UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
    proxy.max_early_data_bytes.CopyFrom(uint32(BUFFER_LIMIT))
    proxy.max_downstream_connection_duration.CopyFrom(duration(limits.connection_age))
    # In one filter with what other chains keep: each filter is a little memory of every sidecar.
    found_out = (*_established_mutually(), *_onward(cluster), *times_of_caller(limits.connection_age))
    return keeping(after_handshake(found_out)), decided(MUTUAL), tcp_filter(), _filter(proxy)


def authorized_listener(limits: Limits) -> listener_pb2.Listener:
    """Where connections go on whose callers have been looked at, if the decision about them allows it.

    A proxy chooses its cluster when the connection comes, which is before the handshake; this second one chooses after it.
    Without a decision it takes no connection.
    """
    named = ages(limits.connection_age)
    allowed = by_age(limits.connection_age, AUTHORIZED)
    key = network_inputs_pb2.FilterStateInput(key=DECISION_STATE)
    tree = Matcher.MatcherTree(
        input=TypedExtensionConfig(name="decision", typed_config=any_(key)),
        prefix_match_map=Matcher.MatcherTree.MatchMap(map={ALLOW: allowed}),
    )
    return listener_pb2.Listener(
        name=AUTHORIZED,
        internal_listener=listener_pb2.Listener.InternalListenerConfig(),
        listener_filters=[on_accept(age_of_caller(limits.connection_age))] if named else (),
        filter_chains=[_authorized(AUTHORIZED, None), *(_authorized(name, age) for name, age in named.items())],
        filter_chain_matcher=Matcher(matcher_tree=tree),
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

    With the mark a `mutual` one gets the serial of its caller's certificate, which may be revoked while the connection lives, and its
    caller's names, about which policies ask.
    """
    return keeping(after_handshake(_established_mutually()) if mutual else when_it_comes([_established()]))


def _established_mutually() -> tuple[State, ...]:
    return _established(), state(SERIAL_STATE, PEER_SERIAL), state(NAMES_STATE, PEER_NAMES)


def _established() -> State:
    return state(ESTABLISHED_STATE, "1")


def _onward(cluster: str) -> list[State]:
    """Where the second listener's connection goes."""
    # The same once more as text: by the first one connections are not told apart.
    states = [state(CLUSTER_STATE, cluster, factory=CLUSTER_STATE, upstream=True), state(_ONWARD_STATE, cluster, upstream=True)]
    if cluster == INBOUND_PASSTHROUGH:
        # It asks the connection where it was going, and the second listener's connection was going nowhere by itself.
        states.append(state(_TARGET_STATE, "%DOWNSTREAM_LOCAL_ADDRESS%", factory=_TARGET_STATE, upstream=True))
    return states


def _inbound_proxy(cluster: str) -> TcpProxy:
    proxy = _proxy(cluster, INBOUND_CONNECTION)
    # Who is connected has to be known when policy changes, not only afterwards.
    proxy.access_log_options.flush_access_log_on_connected = True
    return proxy


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
