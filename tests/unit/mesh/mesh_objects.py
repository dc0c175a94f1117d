"""Small meshes for tests."""

from __future__ import annotations

from typing import Any

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.deployment import Deployment
from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.pod import Pod
from hauberk.api.service import Service

NAMESPACE = "shop"


def service(name: str, *ports: dict[str, Any], ips: tuple[str, ...] = ("10.96.0.1",), namespace: str = NAMESPACE, **spec: Any) -> Service:
    fields = {"selector": {"app": name}, "ports": list(ports or [{"name": "http", "port": 80, "targetPort": 8080}]), **spec}
    return Service.model_validate(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ips[0], "clusterIPs": list(ips), **fields}}
    )


def pod(
    name: str,
    *,
    app: str | None = None,
    ip: str = "10.244.0.2",
    ready: bool = True,
    account: str = "default",
    namespace: str = NAMESPACE,
    metadata: dict[str, Any] | None = None,
    ports: list[dict[str, Any]] | None = None,
    phase: str = "Running",
    **spec: Any,
) -> Pod:
    return Pod.model_validate(
        {
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": app or name}, **(metadata or {})},
            "spec": {"containers": [{"name": "c", "command": ["x"], "ports": ports or []}], "serviceAccountName": account, **spec},
            "status": {
                "phase": phase,
                "podIP": ip,
                "podIPs": [{"ip": ip}] if ip else [],
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }
    )


def deployment(name: str, account: str) -> Deployment:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "command": ["x"]}], "serviceAccountName": account},
    }
    return Deployment.model_validate(
        {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}}
    )


def mtls(name: str, mode: str | None = None, *, namespace: str = NAMESPACE, created: str | None = None, **spec: Any) -> PeerAuthentication:
    fields = {**spec, **({"mtls": {"mode": mode}} if mode else {})}
    return PeerAuthentication.model_validate(
        {"metadata": {"name": name, "namespace": namespace, "creationTimestamp": created}, "spec": fields}
    )


def policy(
    name: str, action: str = "ALLOW", *rules: dict[str, Any], namespace: str = NAMESPACE, app: str | None = None
) -> AuthorizationPolicy:
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return AuthorizationPolicy.model_validate(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"action": action, "rules": list(rules), **selector}}
    )


def key(kind: str, name: str, namespace: str = NAMESPACE) -> ObjectKey:
    return ObjectKey(kind, namespace, name)
