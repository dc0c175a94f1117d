from __future__ import annotations

import pytest

from hauberk.api.service import ServicePort
from hauberk.mesh.protocol import Protocol, port_protocol


@pytest.mark.parametrize(
    ("name", "app_protocol", "number", "expected"),
    [
        ("http", None, 80, Protocol.HTTP),
        ("HTTP-web", None, 80, Protocol.HTTP),
        ("http2-api", None, 80, Protocol.HTTP2),
        ("grpc", None, 80, Protocol.GRPC),
        ("grpc-web-ui", None, 80, Protocol.HTTP),
        ("tcp-x", None, 80, Protocol.TCP),
        ("https", None, 443, Protocol.TCP),
        ("mysql", None, 1, Protocol.TCP),
        ("metrics", None, 9090, Protocol.SNIFFED),
        ("", None, 8080, Protocol.SNIFFED),
        ("", None, 3306, Protocol.TCP),
        ("mail", None, 25, Protocol.TCP),
        ("tcp", "http", 80, Protocol.HTTP),
        ("http", "kubernetes.io/h2c", 80, Protocol.HTTP2),
        ("http", "kubernetes.io/ws", 80, Protocol.HTTP),
        ("http", "kubernetes.io/wss", 80, Protocol.TCP),
        ("http", "unheard-of", 80, Protocol.SNIFFED),
        ("httpx", None, 80, Protocol.SNIFFED),
    ],
)
def test_the_protocol_is_declared_by_app_protocol_then_name_then_sniffed(
    name: str, app_protocol: str | None, number: int, expected: Protocol
) -> None:
    port = ServicePort.model_validate({"name": name, "appProtocol": app_protocol, "port": number})
    assert port_protocol(port) is expected
