"""The objects that `hauberk run` makes of a command line: pure, so that `--dry-run -o yaml` shows exactly what would be applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
WORKING_DIRECTORY = "hauberk.dev/working-directory"
CONTAINER = "main"
# What a program started from a shell takes for granted. The rest of the caller's environment stays out: it holds secrets and sockets.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "JAVA_HOME", "NODE_PATH", "GOPATH")
# A program that has not opened its port yet is not ready; it is looked at often, and given this long before it counts as hung.
_STARTUP_PERIOD = 1  # seconds
_STARTUP_ATTEMPTS = 600
PROTOCOLS = ("http", "http2", "grpc", "https", "tcp", "tls", "mongo", "mysql", "redis")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the program, and its protocol where one was said; sniffed otherwise."""

    number: int
    protocol: str = ""

    @property
    def name(self) -> str:
        """A name that says the protocol, as Istio reads it."""
        return f"{self.protocol or 'port'}-{self.number}"


def parse_port(text: str) -> Port:
    """`8080` or `grpc:9090`; ValueError with what is wrong."""
    protocol, _, number = text.rpartition(":")
    if not number.isdigit() or not 1 <= int(number) <= 65535:
        raise ValueError(f"{text!r} is not [PROTOCOL:]PORT, with a port from 1 to 65535")
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"{protocol!r} is not a protocol: use one of {', '.join(PROTOCOLS)}, or none to have it sniffed")
    return Port(int(number), protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Everything `hauberk run` was told."""

    name: str
    namespace: str
    argv: Sequence[str]
    directory: str
    ports: Sequence[Port] = ()
    service_account: str = ""
    replicas: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    service: bool = True
    once: bool = False
    inject: bool = True

    @property
    def identity(self) -> str:
        """Its ServiceAccount: one of its own unless another was named, so that a policy can tell it from the rest."""
        return self.service_account or self.name


def documents(program: Program) -> list[Document]:
    """The objects to apply, in an order in which each finds what it refers to."""
    found = [] if program.service_account == "default" else [_service_account(program)]
    if program.service and program.ports:
        found.append(_service(program))
    found.append(_pod(program) if program.once else _deployment(program))
    return found


def _metadata(program: Program, name: str, **more: Any) -> Document:
    return {"name": name, "namespace": program.namespace, **more}


def _labels(program: Program) -> dict[str, str]:
    return {"app": program.name, **program.labels}


def _service_account(program: Program) -> Document:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(program, program.identity)}


def _service(program: Program) -> Document:
    ports = [{"name": port.name, "port": port.number, "targetPort": port.number} for port in program.ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(program, program.name, labels={"app": program.name}),
        "spec": {"selector": {"app": program.name}, "ports": ports},
    }


def _deployment(program: Program) -> Document:
    template = {"metadata": _pod_metadata(program), "spec": _pod_spec(program)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(program, program.name, labels={"app": program.name}),
        "spec": {"replicas": program.replicas, "selector": {"matchLabels": {"app": program.name}}, "template": template},
    }


def _pod(program: Program) -> Document:
    metadata = {**_metadata(program, program.name), **_pod_metadata(program)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**_pod_spec(program), "restartPolicy": "Never"}}


def _pod_metadata(program: Program) -> Document:
    labels = _labels(program) if program.inject else {**_labels(program), "sidecar.istio.io/inject": "false"}
    return {"labels": labels, "annotations": {WORKING_DIRECTORY: program.directory}}


def _pod_spec(program: Program) -> Document:
    container: Document = {"name": CONTAINER, "command": list(program.argv), "workingDir": program.directory}
    if program.environment:
        container["env"] = [{"name": name, "value": value} for name, value in program.environment.items()]
    if program.ports:
        container["ports"] = [{"name": port.name, "containerPort": port.number} for port in program.ports]
        first = program.ports[0].number
        container["startupProbe"] = {
            "tcpSocket": {"port": first},
            "periodSeconds": _STARTUP_PERIOD,
            "failureThreshold": _STARTUP_ATTEMPTS,
        }
    return {"serviceAccountName": program.identity, "containers": [container]}


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of the caller's environment that its program gets."""
    return {name: environment[name] for name in INHERITED if name in environment}
