"""Pods for tests, from the few fields that matter to them."""

from typing import Any

from hauberk.api.pod import Pod


def pod(
    *containers: dict[str, Any], name: str = "web-1", namespace: str = "shop", metadata: dict[str, Any] | None = None, **spec: Any
) -> Pod:
    """A pod as the control plane gives it."""
    return Pod.model_validate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "uid": "11111111-2222", **(metadata or {})},
            "spec": {"containers": list(containers) or [{"name": "main", "command": ["serve"]}], **spec},
        }
    )
