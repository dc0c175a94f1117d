"""Which columns `get` shows of each kind: kubectl's, and what a mesh adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hauberk.cli.age import age
from hauberk.cli.table import Cell, bad, good, middling

Document = dict[str, Any]
Shown = str | Cell


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, what it shows of an object, and whether only `-o wide` shows it."""

    title: str
    value: Callable[[Document], Shown]
    wide: bool = False


def get(document: Any, *path: str, default: Any = None) -> Any:
    """The value at `path` in a document, or `default` where there is none."""
    for name in path:
        if not isinstance(document, dict) or document.get(name) is None:
            return default
        document = document[name]
    return document


def _text(*path: str, default: str = "-") -> Callable[[Document], str]:
    return lambda document: str(get(document, *path, default=default))


def _age(document: Document) -> str:
    return age(get(document, "metadata", "creationTimestamp"))


def pod_phase(pod: Document) -> str:
    """What a pod is doing, in one word: the reason of what holds it up, where something does."""
    if get(pod, "metadata", "deletionTimestamp"):
        return "Terminating"
    for status in get(pod, "status", "containerStatuses", default=[]):
        for state in ("waiting", "terminated"):
            reason = get(status, "state", state, "reason")
            if reason and reason not in ("ContainerCreating",):
                return str(reason)
    reason = get(pod, "status", "reason")
    return str(reason or get(pod, "status", "phase", default="Pending"))


def pod_ready(pod: Document) -> tuple[int, int]:
    """How many of a pod's containers are ready, of how many."""
    statuses = get(pod, "status", "containerStatuses", default=[])
    wanted = len(get(pod, "spec", "containers", default=[]))
    return sum(bool(status.get("ready")) for status in statuses), max(wanted, len(statuses))


def condition(document: Document, kind: str) -> Document | None:
    """The condition of that type in the object's status."""
    for each in get(document, "status", "conditions", default=[]):
        if each.get("type") == kind:
            found: Document = each
            return found
    return None


def is_ready(pod: Document) -> bool:
    """The pod takes traffic."""
    found = condition(pod, "Ready")
    return found is not None and found.get("status") == "True" and not get(pod, "metadata", "deletionTimestamp")


def _pod_ready(pod: Document) -> Cell:
    ready, wanted = pod_ready(pod)
    return (good if is_ready(pod) else middling)(f"{ready}/{wanted}")


def _pod_status(pod: Document) -> Cell:
    word = pod_phase(pod)
    if word in ("Running", "Succeeded", "Completed"):
        return good(word)
    return middling(word) if word in ("Pending", "Terminating") else bad(word)


def _restarts(pod: Document) -> str:
    return str(sum(int(status.get("restartCount", 0)) for status in get(pod, "status", "containerStatuses", default=[])))


def _pod_addresses(pod: Document) -> str:
    listed = [each["ip"] for each in get(pod, "status", "podIPs", default=[]) if each.get("ip")]
    return ",".join(listed) or str(get(pod, "status", "podIP", default="-"))


def _ports(service: Document) -> str:
    def one(port: Document) -> str:
        name = f"{port['name']}:" if port.get("name") else ""
        return f"{name}{port.get('port')}/{port.get('appProtocol') or port.get('protocol', 'TCP')}"

    return ",".join(one(port) for port in get(service, "spec", "ports", default=[])) or "-"


def pairs(labels: Any) -> str:
    """Labels as `k=v,k=v`."""
    return ",".join(f"{key}={value}" for key, value in labels.items()) if isinstance(labels, dict) and labels else "-"


def _deployment_ready(deployment: Document) -> Cell:
    ready, wanted = int(get(deployment, "status", "readyReplicas", default=0)), int(get(deployment, "spec", "replicas", default=1))
    return (good if ready >= wanted else middling)(f"{ready}/{wanted}")


def _mode(policy: Document) -> str:
    ports = get(policy, "spec", "portLevelMtls", default={})
    extra = "".join(f" {port}={get(each, 'mode', default='UNSET')}" for port, each in ports.items())
    return str(get(policy, "spec", "mtls", "mode", default="UNSET")) + extra


def targets(policy: Document) -> list[str]:
    """What a policy is attached to by name."""
    single = get(policy, "spec", "targetRef")
    listed = [*([single] if single else []), *get(policy, "spec", "targetRefs", default=[])]
    return [f"{str(each.get('kind', '')).lower()}/{each.get('name')}" for each in listed]


def is_dry_run(policy: Document) -> bool:
    """The policy is tried, and not enforced."""
    return str(get(policy, "metadata", "annotations", "istio.io/dry-run", default="")).lower() in ("1", "t", "true")


def limits(policy: Document) -> list[str]:
    """The limits of a RateLimitPolicy, each in a few words."""
    found = get(policy, "spec", "limits", default=[])
    return [f"{each.get('requests')}/{each.get('per')}{' by ' + ' '.join(each['by']) if each.get('by') else ''}" for each in found]


def _selected(policy: Document) -> str:
    labels = get(policy, "spec", "selector", "matchLabels")
    return ",".join(targets(policy)) or (pairs(labels) if labels else "all")


def _action(policy: Document) -> Shown:
    action = str(get(policy, "spec", "action", default="ALLOW"))
    return middling(f"{action} (dry run)") if is_dry_run(policy) else action


def _issuers(policy: Document) -> str:
    return ",".join(str(each.get("issuer") or "any") for each in get(policy, "spec", "jwtRules", default=[])) or "-"


def _limits(policy: Document) -> Shown:
    told = ", ".join(limits(policy))
    return middling(f"{told} (dry run)") if is_dry_run(policy) else told


NAME = Column("NAME", _text("metadata", "name"))
AGE = Column("AGE", _age)
COLUMNS: dict[str, Sequence[Column]] = {
    "Pod": (
        NAME,
        Column("READY", _pod_ready),
        Column("STATUS", _pod_status),
        Column("RESTARTS", _restarts),
        AGE,
        Column("IP", _pod_addresses, wide=True),
        Column("NODE", _text("spec", "nodeName"), wide=True),
        Column("SERVICE-ACCOUNT", _text("spec", "serviceAccountName", default="default"), wide=True),
    ),
    "Service": (
        NAME,
        Column("TYPE", _text("spec", "type", default="ClusterIP")),
        Column("CLUSTER-IP", _text("spec", "clusterIP")),
        Column("PORTS", _ports),
        AGE,
        Column("SELECTOR", lambda each: pairs(get(each, "spec", "selector")), wide=True),
    ),
    "Deployment": (
        NAME,
        Column("READY", _deployment_ready),
        Column("UP-TO-DATE", _text("status", "updatedReplicas", default="0")),
        Column("AVAILABLE", _text("status", "availableReplicas", default="0")),
        AGE,
        Column("SELECTOR", lambda each: pairs(get(each, "spec", "selector", "matchLabels")), wide=True),
    ),
    "Namespace": (NAME, Column("STATUS", _text("status", "phase", default="Active")), AGE),
    "ConfigMap": (NAME, Column("DATA", lambda each: str(len(get(each, "data", default={})))), AGE),
    "PeerAuthentication": (NAME, Column("MODE", _mode), Column("SELECTS", _selected), AGE),
    "AuthorizationPolicy": (
        NAME,
        Column("ACTION", _action),
        Column("RULES", lambda each: str(len(get(each, "spec", "rules", default=[])))),
        Column("SELECTS", _selected),
        AGE,
        Column("PROVIDER", _text("spec", "provider", "name"), wide=True),
    ),
    "RequestAuthentication": (NAME, Column("ISSUERS", _issuers), Column("SELECTS", _selected), AGE),
    "RateLimitPolicy": (NAME, Column("LIMITS", _limits), Column("SELECTS", _selected), AGE),
}


def columns_of(kind: str, *, wide: bool, namespaces: bool) -> tuple[Column, ...]:
    """The columns for a kind; with objects of several namespaces, the namespace first."""
    chosen = tuple(column for column in COLUMNS.get(kind, (NAME, AGE)) if wide or not column.wide)
    return (Column("NAMESPACE", _text("metadata", "namespace")), *chosen) if namespaces else chosen


def rows(columns: Sequence[Column], documents: Iterable[Document]) -> list[list[Shown]]:
    """One row an object."""
    return [[column.value(document) for column in columns] for document in documents]
