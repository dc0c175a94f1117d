"""Objects as tests write them: documents of Kubernetes and Istio with what the test is about, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hauberk.testing.namespace import MeshNamespace

Document = dict[str, Any]
OUTSIDE = {"sidecar.istio.io/inject": "false"}
ROOT_NAMESPACE = "istio-system"


def apply(mesh: MeshNamespace, *documents: Document) -> Document:
    """The documents hold at every proxy they concern."""
    return mesh.apply("\n---\n".join(json.dumps(each) for each in documents))


def pod(name: str, command: list[str], *, account: str = "default", meshed: bool = True, **more: Any) -> Document:
    """A pod of one container; `labels`, `annotations` are the pod's, `container` fields of its container, the others of its spec."""
    labels = {"app": name, **({} if meshed else OUTSIDE), **more.pop("labels", {})}
    metadata = {"name": name, "labels": labels, "annotations": more.pop("annotations", {})}
    container = {"name": "main", "command": command, **more.pop("container", {})}
    spec = {"serviceAccountName": account, "terminationGracePeriodSeconds": 1, "containers": [container], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def idle(name: str, **more: Any) -> Document:
    """A pod in which a test runs its callers."""
    return pod(name, ["sleep", "infinity"], **more)


def service(name: str, *ports: Document, app: str = "", **more: Any) -> Document:
    """A Service of the pods labelled `app` (the service's name if not said)."""
    spec = {"selector": {"app": app or name}, "ports": list(ports), **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def port(number: int, name: str = "", target: int | str | None = None, **more: Any) -> Document:
    """A port of a Service."""
    return {"port": number, "targetPort": number if target is None else target, **({"name": name} if name else {}), **more}


def account(name: str) -> Document:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def peer_authentication(
    mode: str, *, app: str = "", name: str = "default", namespace: str = "", ports: Mapping[int, str] | None = None
) -> Document:
    """A PeerAuthentication for one workload, or for the whole namespace."""
    spec: Document = {"mtls": {"mode": mode}}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    if ports:
        spec["portLevelMtls"] = {str(number): {"mode": each} for number, each in ports.items()}
    return _security("PeerAuthentication", name, namespace, spec)


def authorization_policy(name: str, action: str, *rules: Document, app: str = "", namespace: str = "", **more: Any) -> Document:
    """An AuthorizationPolicy for one workload, or for the whole namespace."""
    spec: Document = {"action": action, "rules": list(rules), **more}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    return _security("AuthorizationPolicy", name, namespace, spec)


def rule(*, source: Document | None = None, to: Document | None = None) -> Document:
    """A rule with at most one source and one operation."""
    return {**({"from": [{"source": source}]} if source else {}), **({"to": [{"operation": to}]} if to else {})}


def _security(kind: str, name: str, namespace: str, spec: Document) -> Document:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}
