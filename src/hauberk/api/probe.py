"""How a container is asked whether it started, lives and is ready; and what is done before it stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel, Count, IntOrString, Port, Positive
from hauberk.api.name import port_name_fault


class ExecAction(ApiModel):
    """A command in the container; exit code 0 is success."""

    command: tuple[str, ...] = Field(min_length=1)


class HttpHeader(ApiModel):
    """One header of a probe's request."""

    name: str
    value: str = ""


class HttpGetAction(ApiModel):
    """A GET; 200 to 399 is success. `port` is a number or the name of a port of the container."""

    path: str = "/"
    port: IntOrString
    host: str = ""  # empty: the pod itself
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(ApiModel):
    """A connection that is accepted is success."""

    port: IntOrString
    host: str = ""


class GrpcAction(ApiModel):
    """grpc.health.v1.Health/Check that answers SERVING is success."""

    port: Port
    service: str = ""


class SleepAction(ApiModel):
    """Waiting."""

    seconds: Count


class Probe(ApiModel):
    """Exactly one handler, and when to ask; times are in seconds."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: Count = 0
    period_seconds: Positive = 10
    timeout_seconds: Positive = 1
    success_threshold: Positive = 1
    failure_threshold: Positive = 3
    termination_grace_period_seconds: Positive | None = None

    @property
    def handlers(self) -> tuple[str, ...]:
        """Names in YAML of the handlers that are set."""
        given = {"exec": self.exec, "httpGet": self.http_get, "tcpSocket": self.tcp_socket, "grpc": self.grpc}
        return tuple(name for name, handler in given.items() if handler is not None)


class LifecycleHandler(ApiModel):
    """Exactly one of three."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"tcpSocket"})

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    sleep: SleepAction | None = None

    @property
    def handlers(self) -> tuple[str, ...]:
        """Names in YAML of the handlers that are set."""
        given = {"exec": self.exec, "httpGet": self.http_get, "sleep": self.sleep}
        return tuple(name for name, handler in given.items() if handler is not None)


class Lifecycle(ApiModel):
    """`pre_stop` runs before SIGTERM, inside the termination grace period."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"postStart", "stopSignal"})

    pre_stop: LifecycleHandler | None = None


def check_probe(at: Location, probe: Probe, *, may_need_successes: bool, ports: frozenset[str]) -> Iterator[Finding]:
    """Mistakes of one probe; liveness and startup probes may ask for one success only."""
    yield from _check_one_handler(at, probe.handlers, "exec, httpGet, tcpSocket and grpc")
    if probe.success_threshold != 1 and not may_need_successes:
        yield Finding("HBK0107", (*at, "successThreshold"), "must be 1 for liveness and startup probes")
    if probe.http_get:
        yield from _check_port((*at, "httpGet", "port"), probe.http_get.port, ports)
    if probe.tcp_socket:
        yield from _check_port((*at, "tcpSocket", "port"), probe.tcp_socket.port, ports)


def check_lifecycle(at: Location, lifecycle: Lifecycle, ports: frozenset[str]) -> Iterator[Finding]:
    """Mistakes of the lifecycle handlers."""
    if (handler := lifecycle.pre_stop) is None:
        return
    yield from _check_one_handler((*at, "preStop"), handler.handlers, "exec, httpGet and sleep")
    if handler.http_get:
        yield from _check_port((*at, "preStop", "httpGet", "port"), handler.http_get.port, ports)


def _check_one_handler(at: Location, handlers: tuple[str, ...], known: str) -> Iterator[Finding]:
    if not handlers:
        yield Finding("HBK0105", at, f"needs one of {known}")
    elif len(handlers) > 1:
        yield Finding("HBK0113", at, f"may have one handler, not both {' and '.join(handlers)}")


def _check_port(at: Location, port: int | str, ports: frozenset[str]) -> Iterator[Finding]:
    if isinstance(port, int):
        if not 1 <= port <= 65535:
            yield Finding("HBK0107", at, f"{port} is no port number; ports go from 1 to 65535")
    elif fault := port_name_fault(port):
        yield Finding("HBK0108", at, f"{port!r} is no name of a container's port: it {fault}")
    elif port not in ports:
        yield Finding("HBK0114", at, f"the container declares no port named {port!r}", _declared(ports))


def _declared(ports: frozenset[str]) -> str:
    return f"use one of {', '.join(sorted(ports))}, or a number" if ports else "name the port under ports, or use its number"
