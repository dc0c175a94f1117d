"""Which protocol a Service's port speaks: declared by `appProtocol` or the port's name, otherwise found out by looking."""

from __future__ import annotations

from enum import Enum

from hauberk.api.service import ServicePort


class Protocol(Enum):
    """What a port speaks; `SNIFFED` when nobody said."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"
    SNIFFED = "sniffed"

    @property
    def is_http(self) -> bool:
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """Whether the program itself speaks HTTP/2 without being asked to upgrade."""
        return self in (Protocol.HTTP2, Protocol.GRPC)


_HTTP = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC})

# gRPC-Web is HTTP/1.1 or HTTP/2 as the browser likes it, so it is taken for HTTP. TLS and databases are bytes to a sidecar.
_WORDS = {
    **dict.fromkeys(("http", "http_proxy", "grpc-web"), Protocol.HTTP),
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    **dict.fromkeys(("tcp", "https", "tls", "mongo", "redis", "mysql"), Protocol.TCP),
}
_KUBERNETES = {"kubernetes.io/h2c": Protocol.HTTP2, "kubernetes.io/ws": Protocol.HTTP, "kubernetes.io/wss": Protocol.TCP}

# Servers on these ports speak first: waiting for the client's first bytes would hang both.
_SPEAKS_FIRST = frozenset({25, 53, 3306, 27017})


def port_protocol(port: ServicePort) -> Protocol:
    """The protocol of `port`, by Istio's rules: a known `appProtocol`, else the name, else sniffed.

    An unknown `appProtocol` does not fall back to the name.
    """
    if port.app_protocol is not None:
        return _KUBERNETES.get(port.app_protocol) or _by_word(port.app_protocol) or _undeclared(port.port)
    return _by_word(port.name) or _undeclared(port.port)


def _by_word(text: str) -> Protocol | None:
    lower = text.lower()
    if lower.startswith("grpc-web"):
        return Protocol.HTTP
    return _WORDS.get(lower.partition("-")[0])


def _undeclared(port: int) -> Protocol:
    return Protocol.TCP if port in _SPEAKS_FIRST else Protocol.SNIFFED
