"""Who is called: the service, its port, and the workloads that answer there."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.api.selector import has_labels
from hauberk.explain.question import DEFAULT_NAMESPACE, Question, Unanswerable
from hauberk.mesh.inbound import Inbound
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class Target:
    """One workload and the port of its own that is meant; `number` is None if it has no container port of that name."""

    workload: Workload
    inbound: Inbound | None  # None: no sidecar
    number: int | None


@dataclass(frozen=True, slots=True)
class Destination:
    """`service` and `port` are None where a workload was named directly; `targets` may be empty: nobody answers."""

    name: str
    namespace: str
    service: MeshService | None
    port: MeshPort | None
    protocol: Protocol
    targets: tuple[Target, ...]


def resolve_destination(snapshot: MeshSnapshot, question: Question, namespace: str) -> Destination:
    """What the question means by `to`; short names are of `namespace`. Unanswerable if it means nothing."""
    if question.labels:
        return _labelled(snapshot, question, question.namespace or namespace or DEFAULT_NAMESPACE)
    text, port = _without_port(question.to, question.port)
    if not text:
        raise Unanswerable("to: nobody is called", "name a service: --to SERVICE[.NAMESPACE]")
    kind, slash, rest = text.partition("/")
    name, said = _names(rest if slash else text, snapshot.settings.cluster_domain)
    inside = said or question.namespace or namespace or DEFAULT_NAMESPACE
    if not slash or kind in ("svc", "service"):
        service = _service(snapshot, name, inside)
        if service is not None:
            return _serviced(snapshot, service, port, question)
    if slash and kind not in ("svc", "service"):
        found = tuple(each for each in _in(snapshot, inside) if _is_called(each, kind, name))
    else:
        found = tuple(each for each in _in(snapshot, inside) if each.name == name) if not slash else ()
    if not found:
        raise _nobody(snapshot, kind if slash else "", name, inside, said=bool(said))
    return _direct(snapshot, found, port, name, inside)


def _serviced(snapshot: MeshSnapshot, service: MeshService, number: int | None, question: Question) -> Destination:
    port = _port(service, number, question)
    workloads = (each for each in _in(snapshot, service.key.namespace) if service.selector and has_labels(each.labels, service.selector))
    targets = tuple(Target(each, snapshot.inbound.get(each.key), port.number_on(each)) for each in workloads)
    return Destination(service.key.name, service.key.namespace, service, port, port.protocol, targets)


def _labelled(snapshot: MeshSnapshot, question: Question, namespace: str) -> Destination:
    found = tuple(each for each in _in(snapshot, namespace) if has_labels(each.labels, question.labels))
    if not found:
        told = ",".join(f"{key}={value}" for key, value in sorted(question.labels.items()))
        raise Unanswerable(f"to: no workload in namespace {namespace!r} has the labels {told}", "see `hauberk get pods -A --show-labels`")
    return _direct(snapshot, found, question.port, found[0].name, namespace)


def _direct(snapshot: MeshSnapshot, found: tuple[Workload, ...], port: int | None, name: str, namespace: str) -> Destination:
    inbound = snapshot.inbound.get(found[0].key)
    known = inbound.ports if inbound else ()
    if port is None:
        if len(known) != 1:
            told = ", ".join(str(each.number) for each in known) or "none that a service names"
            raise Unanswerable(f"port: which of {name}'s ports? It has {told}", "give --port, or NAME:PORT")
        port = known[0].number
    protocol = next((each.protocol for each in known if each.number == port), Protocol.SNIFFED)
    targets = tuple(Target(each, snapshot.inbound.get(each.key), port) for each in found)
    return Destination(name, namespace, None, None, protocol, targets)


def _port(service: MeshService, number: int | None, question: Question) -> MeshPort:
    known = ", ".join(f"{each.port} ({each.name or each.protocol.value})" for each in service.ports) or "none"
    if number is not None:
        found = next((each for each in service.ports if each.port == number), None)
        if found is None:
            raise Unanswerable(f"port: service {service.key.name} has no port {number}", f"it has {known}")
        return found
    choices = [each for each in service.ports if each.protocol.is_http] if question.asks_http else list(service.ports)
    choices = choices or list(service.ports)
    if len(choices) == 1:
        return choices[0]
    usual = next((each for each in choices if each.port == 80), None)
    if usual is None:
        raise Unanswerable(f"port: which port of service {service.key.name}? It has {known}", "give --port, or SERVICE:PORT")
    return usual


def _service(snapshot: MeshSnapshot, name: str, namespace: str) -> MeshService | None:
    for key, service in snapshot.services.items():
        if key.name == name and key.namespace == namespace:
            return service
    return None


def _in(snapshot: MeshSnapshot, namespace: str) -> list[Workload]:
    return [each for each in snapshot.workloads.values() if each.namespace == namespace]


def _is_called(workload: Workload, kind: str, name: str) -> bool:
    if kind in ("pod", "po"):
        return workload.name == name
    # A Deployment's pods are called after it and its ReplicaSet.
    return workload.name == name or workload.name.rpartition("-")[0].rpartition("-")[0] == name


def _nobody(snapshot: MeshSnapshot, kind: str, name: str, namespace: str, *, said: bool) -> Unanswerable:
    """`said`: the question named the namespace itself."""
    names = sorted(key.name for key in snapshot.services if key.namespace == namespace)
    known = f"its services are {', '.join(names)}" if names else "no service is known there"
    elsewhere = "" if names or said else "; write SERVICE.NAMESPACE for another namespace"
    files = f"{known}{elsewhere}; add it to the files, as a mesh has it: hauberk get {kind or 'svc'} {name} -n {namespace} -o yaml"
    return Unanswerable(f"to: there is no {_kind(kind)} {name!r} in namespace {namespace!r}", known + elsewhere, in_files=files)


def _kind(kind: str) -> str:
    return {"": "service or pod", "svc": "service", "po": "pod", "deploy": "deployment with pods"}.get(kind, kind)


def _without_port(text: str, port: int | None) -> tuple[str, int | None]:
    name, colon, number = text.rpartition(":")
    if not colon or not (number.isascii() and number.isdigit()):
        return text, port
    return name, port if port is not None else int(number)


def _names(text: str, cluster_domain: str) -> tuple[str, str]:
    name, _, rest = text.rstrip(".").partition(".")
    return name, rest.removesuffix(f".{cluster_domain}").removesuffix(".svc")
