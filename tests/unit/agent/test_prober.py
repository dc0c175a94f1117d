"""Probes against real servers on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from hauberk.agent import pod_socket
from hauberk.agent.prober import Prober, encode_get
from hauberk.api.container import Container
from hauberk.api.probe import HttpGetAction, Probe


@pytest.fixture(autouse=True)
def _same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # Entering another network namespace needs privileges; the sockets are the same in this one.
    async def sockets(_: int, addresses: tuple[str, ...]) -> list[socket.socket]:
        return [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for address in addresses]

    monkeypatch.setattr(pod_socket, "_sockets", sockets)


async def ask(probe: dict[str, Any], code: int = 0, **container: Any) -> str | None:
    async def run(argv: tuple[str, ...]) -> int:
        assert argv == ("check",)
        return code << 8

    made = Container.model_validate({"name": "main", "command": ["serve"], **container})
    # The first address refuses: what listens on loopback only is found all the same.
    prober = Prober(network=-1, addresses=("127.0.0.2",), container=made, run=run)
    return await prober.ask(Probe.model_validate(probe))


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if answer:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.0 302 Found\r\n\r\n", None),
        (b"HTTP/1.1 500 Sorry\r\n\r\n", "HTTP status 500"),
        (b"SSH-2.0-x\r\n", "not an HTTP answer: b'SSH-2.0-x\\r\\n'"),
    ],
)
async def test_an_http_probe_looks_at_the_status(answer: bytes, said: str | None) -> None:
    async with serving(answer) as port:
        assert await ask({"httpGet": {"port": port}}) == said


async def test_a_server_that_says_nothing_is_not_waited_for_longer_than_said() -> None:
    async with serving(b"") as port:
        assert await ask({"httpGet": {"port": port}, "timeoutSeconds": 1}) == "no answer within 1 s"


async def test_a_tcp_probe_is_content_with_a_connection() -> None:
    async with serving(b"") as port:
        assert await ask({"tcpSocket": {"port": "web"}}, ports=[{"name": "web", "containerPort": port}]) is None


async def test_a_port_nobody_listens_on_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert await ask({"tcpSocket": {"port": port}}) is not None


@pytest.mark.parametrize(("code", "said"), [(0, None), (3, "exit code 3")])
async def test_an_exec_probe_is_its_exit_code(code: int, said: str | None) -> None:
    assert await ask({"exec": {"command": ["check"]}}, code) == said


@pytest.mark.parametrize(("service", "said"), [("", None), ("sick", "NOT_SERVING")])
async def test_a_grpc_probe_asks_a_real_server_for_its_health(service: str, said: str | None) -> None:
    async def check(request: bytes, _: object) -> bytes:
        return b"\x08\x02" if b"sick" in request else b"\x08\x01"

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        assert await ask({"grpc": {"port": port, "service": service}}) == said
    finally:
        await server.stop(None)


async def test_a_web_server_is_no_grpc_server() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert await ask({"grpc": {"port": port}}) is not None


def test_headers_of_the_probe_replace_ours() -> None:
    action = HttpGetAction.model_validate({"port": 80, "path": "healthz", "httpHeaders": [{"name": "Host", "value": "me"}]})
    lines = encode_get(action, "10.244.0.2:80").decode().splitlines()
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert "host: me" in lines
