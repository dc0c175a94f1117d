"""A target on the command line, `POD`, `deploy/NAME`, `svc/NAME` or `NAME.NAMESPACE`, and the pod that it means now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hauberk.cli import connection, kinds, views
from hauberk.cli.connection import Document, Mesh
from hauberk.cli.failure import Exit, Failure


@dataclass(frozen=True, slots=True)
class Target:
    """What was typed: the kind if one was said, a name, a namespace."""

    kind: str | None
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}" if self.kind else self.name


def parse_target(text: str, namespace: str) -> Target:
    """The target that `text` names; a namespace in it wins over `-n`."""
    kind: str | None = None
    if "/" in text:
        kind_name, _, text = text.partition("/")
        kind = kinds.kind_named(kind_name).name
        if kind not in ("Pod", "Deployment", "Service"):
            raise Failure(f"a {kind} has no pods", "", "name a pod, deploy/NAME or svc/NAME", Exit.USAGE)
    name, _, inside = text.partition(".")
    if not name:
        raise Failure("the target has no name", "", "name a pod, deploy/NAME, svc/NAME or NAME.NAMESPACE", Exit.USAGE)
    return Target(kind, name, inside or namespace)


def find_pods(mesh: Mesh, target: Target) -> list[Document]:
    """The pods a target means, those that take traffic first; Failure if there are none."""
    listed = mesh.api("GET", connection.list_path("pods", namespace=target.namespace))["items"]
    found = _matching(mesh, target, listed)
    if not found:
        raise _nothing(target)
    return sorted(found, key=lambda pod: (not views.is_ready(pod), pod["metadata"]["name"]))


def find_pod(mesh: Mesh, target: Target) -> Document:
    """The pod a target means: a ready one where there is a choice."""
    return find_pods(mesh, target)[0]


def _matching(mesh: Mesh, target: Target, pods: list[Document]) -> list[Document]:
    if target.kind in (None, "Pod"):
        exact = [pod for pod in pods if pod["metadata"]["name"] == target.name]
        if exact or target.kind == "Pod":
            return exact
    # A bare name is what `hauberk run` was given: its deployment; or else a service.
    if target.kind in (None, "Deployment"):
        owned = list(_owned(pods, target.name))
        if owned or target.kind == "Deployment":
            return owned
    return _selected(mesh, target, pods)


def _owned(pods: Iterable[Document], deployment: str) -> Iterable[Document]:
    for pod in pods:
        for owner in views.get(pod, "metadata", "ownerReferences", default=[]):
            if owner.get("name") == deployment and owner.get("kind") == "Deployment":
                yield pod


def _selected(mesh: Mesh, target: Target, pods: list[Document]) -> list[Document]:
    services = mesh.api("GET", connection.list_path("services", namespace=target.namespace))["items"]
    for service in services:
        selector = views.get(service, "spec", "selector", default={})
        if service["metadata"]["name"] == target.name and selector:
            return [pod for pod in pods if selector.items() <= views.get(pod, "metadata", "labels", default={}).items()]
    return []


def _nothing(target: Target) -> Failure:
    looked = "a pod, a deployment with pods or a service with pods" if target.kind is None else f"a {target.kind.lower()} with pods"
    return Failure(
        f"nothing runs as {str(target)!r} in namespace {target.namespace!r}",
        f"looked for {looked} of that name",
        f"see `hauberk get deployments,pods -n {target.namespace}`, or give another namespace with -n",
    )


def target_port(mesh: Mesh, target: Target, pod: Document, port: int) -> int:
    """The port of the pod's program behind `port`: for a service its target port, else the port itself."""
    if target.kind != "Service":
        return port
    service = mesh.api("GET", connection.object_path("services", target.namespace, target.name))
    for each in views.get(service, "spec", "ports", default=[]):
        if each.get("port") == port:
            return _resolve(each.get("targetPort", port), pod)
    known = ", ".join(str(each.get("port")) for each in views.get(service, "spec", "ports", default=[]))
    raise Failure(f"service {target.name!r} has no port {port}", f"it has {known}", "use one of these", Exit.USAGE)


def _resolve(wanted: int | str, pod: Document) -> int:
    if isinstance(wanted, int) or wanted.isdigit():
        return int(wanted)
    for container in views.get(pod, "spec", "containers", default=[]):
        for port in container.get("ports", []):
            if port.get("name") == wanted:
                return int(port["containerPort"])
    raise Failure(f"no container of {pod['metadata']['name']} has a port called {wanted!r}", "", "declare it in the pod, or use the number")
