"""`hauberk describe`: one object, told: what it says, how it is, and what in the mesh concerns it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from hauberk.cli import certificate, completion_names, connection, issuers, kinds, output, views
from hauberk.cli.age import age
from hauberk.cli.connection import Mesh
from hauberk.cli.options import namespace_option
from hauberk.cli.plain import printable
from hauberk.cli.status import fetch_status
from hauberk.cli.verbs import verb
from hauberk.cli.views import get

Document = dict[str, Any]
_TITLE = 16  # characters: the longest title and a gap
_ROOT_NAMESPACE = "istio-system"


@verb(
    "describe",
    "hauberk describe pod web-5f6d8c-x2x7k",
    "hauberk describe svc web -n shop",
    "hauberk describe deploy/web",
    "hauberk describe certificate web",
)
@click.argument("kind", metavar="KIND|KIND/NAME", shell_complete=completion_names.kind_or_name)
@click.argument("name", required=False, shell_complete=completion_names.kind_or_name)
@namespace_option
def describe(*, kind: str, name: str | None, namespace: str) -> None:
    """Everything worth knowing of one object: its state and why, its mTLS, the policies that apply to it."""
    if "/" in kind:
        kind, _, name = kind.partition("/")
    if not name:
        raise click.UsageError("which one? hauberk describe KIND NAME")
    mesh = connection.mesh()
    if kind.lower() in certificate.NAMES:
        for line in certificate.lines(mesh, name, namespace):
            click.echo(line)
        return
    found = kinds.kind_named(kind)
    document = mesh.api("GET", connection.object_path(found.plural, namespace if found.namespaced else None, name))
    for line in lines(mesh, document):
        click.echo(line)


def lines(mesh: Mesh, document: Document) -> Iterator[str]:
    """The description, line by line."""
    yield from _head(document)
    match document["kind"]:
        case "Pod":
            yield from _pod(mesh, document)
        case "Deployment":
            yield from _deployment(mesh, document)
        case "Service":
            yield from _service(mesh, document)
        case "AuthorizationPolicy" | "PeerAuthentication":
            yield from _policy(mesh, document)
            yield from _analysis(mesh, document)
        case "RateLimitPolicy":
            yield from _block("Says", output.as_yaml(document.get("spec") or {}).splitlines())
            yield from _analysis(mesh, document)
        case "RequestAuthentication":
            yield from _policy(mesh, document)
            yield from issuers.lines(document, mesh.api("GET", "/v1/status").get("issuers") or [])
            yield from _analysis(mesh, document)
        case _:
            rest = {name: value for name, value in document.items() if name not in ("apiVersion", "kind", "metadata", "status")}
            yield from _block("Content", output.as_yaml(rest).splitlines() if rest else [])
    yield from _conditions(document)


def _field(title: str, value: Any) -> str:
    return f"{title + ':':<{_TITLE}}{printable(str(value))}"


def _block(title: str, rows: list[str]) -> Iterator[str]:
    if rows:
        yield f"{title}:"
        yield from (f"  {printable(row)}" for row in rows)


def _head(document: Document) -> Iterator[str]:
    metadata = document["metadata"]
    yield _field("Kind", document["kind"])
    yield _field("Name", metadata["name"])
    if metadata.get("namespace"):
        yield _field("Namespace", metadata["namespace"])
    yield _field("Created", f"{metadata.get('creationTimestamp', '-')} ({age(metadata.get('creationTimestamp'))} ago)")
    yield _field("Generation", metadata.get("generation", "-"))
    for name in ("labels", "annotations"):
        yield _field(name.capitalize(), views.pairs(metadata.get(name)))
    for owner in metadata.get("ownerReferences", []):
        yield _field("Owned by", f"{owner.get('kind', '').lower()}/{owner.get('name')}")


def _pod(mesh: Mesh, pod: Document) -> Iterator[str]:
    yield _field("Status", views.pod_phase(pod))
    yield _field("Node", get(pod, "spec", "nodeName", default="-"))
    yield _field("Addresses", ", ".join(each["ip"] for each in get(pod, "status", "podIPs", default=[])) or "-")
    yield _field("Identity", _identity(pod))
    statuses = {each.get("name"): each for each in get(pod, "status", "containerStatuses", default=[])}
    for container in get(pod, "spec", "containers", default=[]):
        rows = [*_container(container), *_container_state(statuses.pop(container.get("name"), {}))]
        yield from _block(f"Container {container.get('name')}", rows)
    for name, status in statuses.items():
        yield from _block(f"Container {name}", list(_container_state(status)))
    yield from _proxy(mesh, pod)
    yield from _mesh_view(mesh, pod["metadata"]["namespace"], get(pod, "metadata", "labels", default={}))


def _identity(pod: Document) -> str:
    account = get(pod, "spec", "serviceAccountName", default="default")
    return f"{pod['metadata']['namespace']}/{account}"


def _container(container: Document) -> Iterator[str]:
    command = [*get(container, "command", default=[]), *get(container, "args", default=[])]
    yield _field("Command", " ".join(command) or "-")
    ports = ", ".join(f"{port.get('name', '')} {port['containerPort']}".strip() for port in get(container, "ports", default=[]))
    if ports:
        yield _field("Ports", ports)


def _container_state(status: Document) -> Iterator[str]:
    for name, detail in get(status, "state", default={}).items():
        told = [str(detail[key]) for key in ("reason", "message") if detail and detail.get(key)]
        told += [f"exit code {detail['exitCode']}"] if detail and "exitCode" in detail else []
        yield _field("State", " · ".join([name, *told]))
    ended = get(status, "lastState", "terminated")
    if ended:
        yield _field("Before", f"{ended.get('reason', 'ended')}, exit code {ended.get('exitCode')}, {age(ended.get('finishedAt'))} ago")
    if status:
        yield _field("Ready", "yes" if status.get("ready") else "no")
        yield _field("Restarts", status.get("restartCount", 0))


def _proxy(mesh: Mesh, pod: Document) -> Iterator[str]:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    for proxy in fetch_status(mesh)["proxies"]:
        if (proxy.get("pod"), proxy.get("namespace")) == (name, namespace):
            certificate = proxy.get("certificate") or {}
            rows = [
                _field("Ready", "yes" if proxy.get("ready") else "no"),
                _field("Synced", "yes" if proxy.get("synced") else "no"),
                _field("Certificate", certificate.get("spiffeId", "-")),
                _field("Valid until", certificate.get("notAfter", "-")),
            ]
            rows += [_field("Rejected", f"{each.get('resource')}: {each.get('message')}") for each in proxy.get("rejected") or []]
            yield from _block("Sidecar", rows)
            return
    yield _field("Sidecar", "none: it is outside the mesh, or its Envoy has not connected yet")


def _mesh_view(mesh: Mesh, namespace: str, labels: dict[str, str]) -> Iterator[str]:
    """What of the mesh's security concerns a workload: the mTLS that is effective and the policies that select it."""
    authentications = [each for each in _of_kind(mesh, "peerauthentications") if _applies(each, namespace, labels)]
    yield _field("mTLS", _effective_mode(authentications))
    policies = [each for each in _of_kind(mesh, "authorizationpolicies") if _applies(each, namespace, labels)]
    rows = [
        f"{each['metadata']['namespace']}/{each['metadata']['name']}: {get(each, 'spec', 'action', default='ALLOW')}, "
        f"{len(get(each, 'spec', 'rules', default=[]))} rules{', dry run' if views.is_dry_run(each) else ''}"
        for each in policies
    ]
    tokens = [each for each in _of_kind(mesh, "requestauthentications") if _applies(each, namespace, labels)]
    named = [rule.get("issuer") or "any issuer" for each in tokens for rule in get(each, "spec", "jwtRules", default=[])]
    yield _field("Tokens of", ", ".join(sorted(set(named))) or "nobody: tokens of end users are not looked at")
    yield from _block("Policies", rows or ["none: whoever has an identity of the mesh may call it"])


def _of_kind(mesh: Mesh, plural: str) -> list[Document]:
    found: list[Document] = mesh.api("GET", connection.list_path(plural))["items"]
    return found


def _applies(policy: Document, namespace: str, labels: dict[str, str]) -> bool:
    selector: dict[str, str] = get(policy, "spec", "selector", "matchLabels", default={})
    within = policy["metadata"]["namespace"] in (namespace, _ROOT_NAMESPACE)
    # What is attached to something by name is none of a sidecar's business.
    return within and not views.targets(policy) and selector.items() <= labels.items()


def _effective_mode(applying: list[Document]) -> str:
    """The mode of the most specific object that sets one: workload before namespace before mesh."""

    def breadth(policy: Document) -> int:
        if get(policy, "spec", "selector", "matchLabels"):
            return 0
        return 2 if policy["metadata"]["namespace"] == _ROOT_NAMESPACE else 1

    for each in sorted(applying, key=lambda policy: (breadth(policy), policy["metadata"].get("creationTimestamp", ""))):
        mode = get(each, "spec", "mtls", "mode", default="UNSET")
        if mode != "UNSET":
            ports = get(each, "spec", "portLevelMtls", default={})
            extra = "".join(f", port {port} {get(value, 'mode', default='UNSET')}" for port, value in ports.items())
            return f"{mode}{extra} (by {each['metadata']['namespace']}/{each['metadata']['name']})"
    return "PERMISSIVE (no PeerAuthentication says otherwise)"


def _deployment(mesh: Mesh, deployment: Document) -> Iterator[str]:
    status = deployment.get("status") or {}
    counts = ", ".join(f"{status.get(name) or 0} {label}" for name, label in _COUNTS)
    yield _field("Replicas", f"{get(deployment, 'spec', 'replicas', default=1)} wanted, {counts}")
    labels = get(deployment, "spec", "selector", "matchLabels", default={})
    yield _field("Selector", views.pairs(labels))
    for container in get(deployment, "spec", "template", "spec", "containers", default=[]):
        yield from _block(f"Container {container.get('name')}", list(_container(container)))
    yield from _pods(mesh, deployment["metadata"]["namespace"], labels)


_COUNTS = (("updatedReplicas", "up to date"), ("readyReplicas", "ready"), ("availableReplicas", "available"))


def _pods(mesh: Mesh, namespace: str, labels: dict[str, str]) -> Iterator[str]:
    if not labels:
        yield _field("Pods", "none: no selector")
        return
    query = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = mesh.api("GET", connection.list_path("pods", namespace=namespace, labelSelector=query))["items"]
    rows = [
        f"{pod['metadata']['name']}: {views.pod_phase(pod)}, {'ready' if views.is_ready(pod) else 'not ready'}, "
        f"{get(pod, 'status', 'podIP', default='no address')}"
        for pod in pods
    ]
    yield from _block("Pods", rows or ["none match the selector"])


def _service(mesh: Mesh, service: Document) -> Iterator[str]:
    yield _field("Addresses", ", ".join(get(service, "spec", "clusterIPs", default=[])) or get(service, "spec", "clusterIP", default="-"))
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    yield _field("Names", f"{name}.{namespace}.svc.cluster.local, {name}.{namespace}, and {name} within its namespace")
    rows = [
        f"{port.get('name', '-')}: {port['port']} to {port.get('targetPort', port['port'])}, "
        f"{port.get('appProtocol') or 'protocol by name, or sniffed'}"
        for port in get(service, "spec", "ports", default=[])
    ]
    yield from _block("Ports", rows)
    labels = get(service, "spec", "selector", default={})
    yield _field("Selector", views.pairs(labels))
    yield from _pods(mesh, namespace, labels)


def _analysis(mesh: Mesh, document: Document) -> Iterator[str]:
    """What there is to say of the object as it stands among the others."""
    metadata = document["metadata"]
    found = mesh.api("POST", "/v1/analyze", {"namespace": metadata["namespace"]})["problems"]
    about = f"{document['kind']}/{metadata['namespace']}/{metadata['name']}"
    rows = [f"{each['severity']} {each['code']}: {each['path']}: {each['message']}" for each in found if each.get("object") == about]
    yield from _block("Analysis", rows)


def _policy(mesh: Mesh, policy: Document) -> Iterator[str]:
    yield from _block("Says", output.as_yaml(policy.get("spec") or {}).splitlines())
    namespace = policy["metadata"]["namespace"]
    everywhere = namespace == _ROOT_NAMESPACE
    pods = mesh.api("GET", connection.list_path("pods", namespace=None if everywhere else namespace))["items"]
    selected = [pod for pod in pods if _applies(policy, pod["metadata"]["namespace"], get(pod, "metadata", "labels", default={}))]
    rows = sorted(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in selected)
    yield from _block("Concerns pods", rows or ["none: its selector matches no pod"])


def _conditions(document: Document) -> Iterator[str]:
    rows = []
    for each in get(document, "status", "conditions", default=[]):
        why = " · ".join(str(each[key]) for key in ("reason", "message") if each.get(key))
        rows.append(f"{each.get('type')} {each.get('status')} for {age(each.get('lastTransitionTime'))}{': ' + why if why else ''}")
    yield from _block("Conditions", rows)
