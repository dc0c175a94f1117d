"""Waiting for pods by watching them: no polling, and what stands in the way is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hauberk.kit.unix_http import NotReachable, UnixHttp
from hauberk.testing.answer import MeshFailed

if TYPE_CHECKING:
    from hauberk.testing.mesh import Mesh


def pods_ready(mesh: Mesh, namespace: str, app: str, count: int, timeout: float) -> None:
    """`count` pods labelled `app` are ready; MeshFailed with their states if that does not come."""
    query = urlencode({"namespace": namespace, "labelSelector": f"app={app}", "watch": "true"})
    states: dict[str, str] = {}
    ready: set[str] = set()
    try:
        for line in UnixHttp(mesh.places.api_socket).stream_lines(f"/v1/objects/pods?{query}", timeout=timeout):
            event = json.loads(line)
            if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                continue
            name = event["object"]["metadata"]["name"]
            states[name] = _state(event["object"])
            (ready.add if event["type"] != "DELETED" and _is_ready(event["object"]) else ready.discard)(name)
            if len(ready) >= count:
                return
    except NotReachable as error:
        raise MeshFailed(f"{len(ready)} of {count} pods of {app} are ready: {states}") from error
    raise MeshFailed(f"the watch ended; {len(ready)} of {count} pods of {app} are ready: {states}")


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", ()))


def _state(pod: dict[str, Any]) -> str:
    status = pod.get("status", {})
    waiting = [each["state"]["waiting"] for each in status.get("containerStatuses", ()) if "waiting" in each.get("state", {})]
    reasons = ", ".join(f"{each.get('reason')}: {each.get('message', '')}" for each in waiting)
    return f"{status.get('phase', 'Pending')} {reasons}".strip()
