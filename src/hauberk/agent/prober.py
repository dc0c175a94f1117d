"""Asking a program how it is: each function returns None for a good answer, or what was wrong with it."""

import asyncio
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from hauberk.agent.grpc_health import HealthUnknown, check_health
from hauberk.agent.pod_socket import dial, dial_host
from hauberk.api.container import Container
from hauberk.api.probe import ExecAction, GrpcAction, HttpGetAction, Probe, TcpSocketAction
from hauberk.linux.failure import LaunchFailure
from hauberk.linux.launch import Launcher
from hauberk.linux.process import ProcessSpec

_numbers: Final = itertools.count(1)
Run = Callable[[tuple[str, ...]], Awaitable[int]]


class Prober:
    """Asks one container of one pod."""

    def __init__(self, *, network: int, addresses: tuple[str, ...], container: Container, run: Run) -> None:
        self._network = network
        self._addresses = addresses
        self._ports = {port.name: port.container_port for port in container.ports if port.name}
        self._run = run

    async def ask(self, probe: Probe) -> str | None:
        """The answer, within the probe's timeout."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                return await self._ask(probe)
        except TimeoutError:
            return f"no answer within {probe.timeout_seconds} s"
        except (OSError, EOFError, ValueError, ssl.SSLError, HealthUnknown, LaunchFailure) as exc:
            return str(exc) or type(exc).__name__

    async def get(self, action: HttpGetAction) -> str | None:
        """The answer to a GET; 200 to 399 is good. A certificate is not looked at, as Kubernetes does."""
        port = self._port(action.port)
        async with self._connection(action.host, port, tls=action.scheme == "HTTPS") as (reader, writer):
            writer.write(encode_get(action, self._authority(action.host, port)))
            await writer.drain()
            line = await reader.readline()
        parts = line.split(b" ", 2)
        if not parts[0].startswith(b"HTTP/") or len(parts) < 2 or not parts[1].isdigit():
            return f"not an HTTP answer: {line[:60]!r}"
        status = int(parts[1])
        return None if 200 <= status < 400 else f"HTTP status {status}"

    async def _ask(self, probe: Probe) -> str | None:
        match probe:
            case Probe(http_get=HttpGetAction() as action):
                return await self.get(action)
            case Probe(tcp_socket=TcpSocketAction() as action):
                async with self._connection(action.host, self._port(action.port)):
                    return None
            case Probe(grpc=GrpcAction() as action):
                async with self._connection("", action.port) as (reader, writer):
                    return await check_health(reader, writer, self._authority("", action.port), action.service)
            case Probe(exec=ExecAction() as action):
                code = os.waitstatus_to_exitcode(await self._run(action.command))
                return None if code == 0 else f"exit code {code}"
            case _:
                return "the probe asks nothing"

    @asynccontextmanager
    async def _connection(
        self, host: str, port: int, *, tls: bool = False
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        dialled = await (dial_host(self._network, host, port) if host else dial(self._network, self._addresses, port))
        secured = {"ssl": _unverified(), "server_hostname": host or self._addresses[0]} if tls else {}
        reader, writer = await asyncio.open_connection(sock=dialled, **secured)  # type: ignore[arg-type]  # both or none of two keywords
        try:
            yield reader, writer
        finally:
            writer.close()

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        if port not in self._ports:
            raise ValueError(f"the container has no port named {port!r}")
        return self._ports[port]

    def _authority(self, host: str, port: int) -> str:
        host = host or self._addresses[0]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def encode_get(action: HttpGetAction, authority: str) -> bytes:
    """The request's bytes; headers of the probe replace ours."""
    headers: dict[str, str] = {"host": authority, "user-agent": "hauberk-probe", "accept": "*/*", "connection": "close"}
    headers |= {header.name.lower(): header.value for header in action.http_headers}
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    text = "\r\n".join((f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""))
    return text.encode()


async def run_inside(launcher: Launcher, container: str, argv: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """The wait status of a command inside the running container of that process name; its output goes nowhere."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        spec = ProcessSpec(argv=argv, env=environment, cwd="", join=container)
        return await launcher.run(f"{container}/{next(_numbers)}", spec, (nothing, nothing, nothing))
    finally:
        os.close(nothing)


def _unverified() -> ssl.SSLContext:
    found = ssl.create_default_context()
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    return found
