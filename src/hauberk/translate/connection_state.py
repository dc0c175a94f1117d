"""What is kept with a connection (Envoy's filter state), found out when it comes or when the handshake of its TLS is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2

from hauberk.envoy.message import any_, encode, field, newer_any, with_newer

Config = set_filter_state_pb2.Config
State = value_pb2.FilterStateValue

# How a decision about a connection begins (`access_log.DECISION_STATE`); the name of who decided follows.
ALLOW: Final = "allow|"
DENY: Final = "deny|"

# The caller's identity in an expression (CEL); of several names the first.
PEER: Final = "connection.uri_san_peer_certificate"

# Which cluster a TCP proxy takes instead of its own, if this is set when the connection comes to it.
CLUSTER_STATE: Final = "envoy.tcp_proxy.cluster"

_TEXT: Final = "envoy.string"
# Connections that cause others are told apart by what they hand on, as far as that can be hashed. Of all that cannot be, the second gets
# what the first one had: a caller who is denied would go on where somebody before was allowed to.
_TOLD_APART: Final = "envoy.hashable_string"

_ON_TLS_HANDSHAKE: Final = 2  # field number of Config.on_downstream_tls_handshake
# Newer than the installed descriptors.
_LISTENER_CONFIG: Final = "envoy.extensions.filters.listener.set_filter_state.v3.Config"
_ON_ACCEPT: Final = 1


def state(key: str, text: str, *, factory: str = _TEXT, upstream: bool = False, if_any: bool = False) -> State:
    """`text` (an access log format) under `key`.

    `upstream`: also with the connection that this one causes. `if_any`: an empty text leaves what is there.
    """
    if upstream and factory == _TEXT:
        factory = _TOLD_APART
    source = base_pb2.DataSource(inline_string=text)
    made = State(
        object_key=key,
        factory_key=factory,
        format_string=substitution_format_string_pb2.SubstitutionFormatString(text_format_source=source),
        skip_if_empty=if_any,
    )
    if upstream:
        made.shared_with_upstream = State.SharedWithUpstream.ONCE
    return made


def when_it_comes(states: Iterable[State]) -> Config:
    """These, one after the other, before anything was received."""
    return Config(on_new_connection=states)


def after_handshake(states: Iterable[State]) -> Config:
    """These, one after the other, when the caller has proven its identity; what stands behind in the chain hears of it later."""
    config = Config()
    for each in states:
        with_newer(config, _ON_TLS_HANDSHAKE, encode(each))
    return config


def keeping(config: Config) -> listener_components_pb2.Filter:
    """The filter that does it."""
    return listener_components_pb2.Filter(name="envoy.filters.network.set_filter_state", typed_config=any_(config))


def on_accept(states: Iterable[State]) -> listener_components_pb2.ListenerFilter:
    """A listener's filter that keeps these before the filter chain is chosen."""
    config = b"".join(field(_ON_ACCEPT, encode(each)) for each in states)
    return listener_components_pb2.ListenerFilter(name="set-filter-state", typed_config=newer_any(_LISTENER_CONFIG, config))
