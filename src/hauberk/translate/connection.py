"""Limits and protocol options of connections to a cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, protocol_pb2, socket_option_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as http_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf import any_pb2

from hauberk.envoy.message import any_, duration, encode, uint32, with_newer

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Enough to keep a link busy; the default of 1 MiB a connection is what a thousand slow clients would cost.
BUFFER_LIMIT: Final = 32 * 1024
STREAM_WINDOW: Final = 256 * 1024
CONNECTION_WINDOW: Final = 1024 * 1024

_JITTER: Final = 0.25
_MAX_CONNECTION_DURATION_JITTER: Final = 8  # field number in HttpProtocolOptions

_UNLIMITED: Final = 2**32 - 1
_SOL_SOCKET, _SO_MARK = 1, 36

# Told to the kernel by setsockopt; interception lets marked sockets through.
OUTBOUND_MARK: Final = 1337
INBOUND_MARK: Final = 1338


def circuit_breakers() -> circuit_breaker_pb2.CircuitBreakers:
    """None: Envoy's own limit of 1024 connections fails a busy service for no reason that its owner ever stated."""
    threshold = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=uint32(_UNLIMITED),
        max_pending_requests=uint32(_UNLIMITED),
        max_requests=uint32(_UNLIMITED),
        max_retries=uint32(_UNLIMITED),
    )
    return circuit_breaker_pb2.CircuitBreakers(thresholds=[threshold])


def marked(mark: int) -> address_pb2.BindConfig:
    """Sockets of a cluster carry `mark`."""
    option = socket_option_pb2.SocketOption(
        description="mark", level=_SOL_SOCKET, name=_SO_MARK, int_value=mark, state=socket_option_pb2.SocketOption.STATE_PREBIND
    )
    return address_pb2.BindConfig(socket_options=[option])


def http2_options(*, keepalive: bool = False) -> protocol_pb2.Http2ProtocolOptions:
    """HTTP/2 with bounded windows that also carries WebSockets; `keepalive` finds out that a silent peer is gone."""
    options = protocol_pb2.Http2ProtocolOptions(
        # RFC 8441: an HTTP/1.1 upgrade crosses an HTTP/2 connection as an extended CONNECT.
        allow_connect=True,
        initial_stream_window_size=uint32(STREAM_WINDOW),
        initial_connection_window_size=uint32(CONNECTION_WINDOW),
    )
    if keepalive:
        options.connection_keepalive.interval.CopyFrom(duration(30))
        options.connection_keepalive.timeout.CopyFrom(duration(10))
    return options


def http1_options() -> protocol_pb2.Http1ProtocolOptions:
    """HTTP/1 that changes nothing on the way: trailers pass."""
    return protocol_pb2.Http1ProtocolOptions(enable_trailers=True)


def common_http_options(*, max_age: timedelta | None = None, idle: timedelta | None = None) -> protocol_pb2.HttpProtocolOptions:
    """`max_age`: no request is sent over a connection that old; `idle`: closed after that long without one."""
    options = protocol_pb2.HttpProtocolOptions(idle_timeout=None if idle is None else duration(idle))
    if max_age is not None:
        # The caller is always before the called one, who would have to end it, and connections that began together do not end together.
        options.max_connection_duration.CopyFrom(duration(max_age / (1 + _JITTER)))
        with_newer(options, _MAX_CONNECTION_DURATION_JITTER, encode(percent_pb2.Percent(value=100 * _JITTER)))
    return options


def set_http(cluster: cluster_pb2.Cluster, options: any_pb2.Any | None) -> None:
    """Requests to `cluster` are sent as `options` say; None: it takes connections only."""
    if options is not None:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(options)


def speaks_http1(common: protocol_pb2.HttpProtocolOptions) -> any_pb2.Any:
    config = http_pb2.HttpProtocolOptions.ExplicitHttpConfig(http_protocol_options=http1_options())
    return any_(http_pb2.HttpProtocolOptions(common_http_protocol_options=common, explicit_http_config=config))


def speaks_http2(common: protocol_pb2.HttpProtocolOptions, *, keepalive: bool = False) -> any_pb2.Any:
    config = http_pb2.HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=http2_options(keepalive=keepalive))
    return any_(http_pb2.HttpProtocolOptions(common_http_protocol_options=common, explicit_http_config=config))


def speaks_as_asked(common: protocol_pb2.HttpProtocolOptions) -> any_pb2.Any:
    """The protocol in which the request came in."""
    config = http_pb2.HttpProtocolOptions.UseDownstreamHttpConfig(
        http_protocol_options=http1_options(), http2_protocol_options=http2_options()
    )
    return any_(http_pb2.HttpProtocolOptions(common_http_protocol_options=common, use_downstream_protocol_config=config))
