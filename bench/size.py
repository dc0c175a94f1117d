"""What a mesh of many pods occupies, and how long a change takes to reach all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from bench.line import Line, typical
from bench.processes import mesh_processes, part, private_megabytes, sidecars
from bench.scale import Scale
from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace

GROUP, CHANGES = "memory", "changes"
SIDECAR_TARGET, PARTS_TARGET = 18.0, 200.0  # megabytes of private memory
CHANGE_TARGET = 0.5  # seconds
_FEW = 2
_START_SECONDS = 300.0
_REST_SECONDS = 3.0  # until what starting needed has been given back


def measure(scale: Scale) -> Iterator[Line]:
    """Pods with a service each: few of them, then many."""
    with running_mesh("bench-size") as mesh:
        namespace = mesh.namespace("bench")
        yield from _parts(mesh, namespace, 0, _FEW, scale, None)
        yield from _parts(mesh, namespace, _FEW, scale.pods, scale, PARTS_TARGET)
        occupied = [private_megabytes(each.pid) for each in sidecars(mesh_processes(mesh.places))]
        name = f"a sidecar, {scale.pods} services in the mesh"
        yield typical(GROUP, name, "MB", occupied, target=SIDECAR_TARGET, note=f"{len(occupied)} sidecars")
        yield from _changes(namespace, scale)


def _parts(mesh: Mesh, namespace: MeshNamespace, first: int, last: int, scale: Scale, target: float | None) -> Iterator[Line]:
    began = time.monotonic()
    objects = [each for number in range(first, last) for each in (_service(number), _pod(number, chosen=True))]
    namespace.apply("\n---\n".join(json.dumps(each) for each in objects), wait=_START_SECONDS)
    namespace.ready("member", count=last, timeout=_START_SECONDS)
    scale.tell(f"{last} pods are ready, {time.monotonic() - began:.1f} s for {last - first}")
    time.sleep(_REST_SECONDS)
    processes = mesh_processes(mesh.places)
    occupied = {name: private_megabytes(part(processes, name).pid) for name in ("control-plane", "agent", "init")}
    both = occupied["control-plane"] + occupied["agent"]
    note = f"control plane {occupied['control-plane']:.0f}, agent {occupied['agent']:.0f}; init {occupied['init']:.0f} beside them"
    yield typical(GROUP, f"control plane and agent, {last} pods", "MB", [both], target=target, note=note)


def _changes(namespace: MeshNamespace, scale: Scale) -> Iterator[Line]:
    policies, endpoints = [], []
    for number in range(scale.changes):
        policies.append(_apply(namespace, _policy(f"/round-{number}"), scale))
        endpoints.append(_apply(namespace, _pod(0, chosen=number % 2 == 1), scale))
        scale.tell(f"policy {policies[-1]:.3f} s, endpoint {endpoints[-1]:.3f} s")
    for name, seconds in (("a policy of the namespace", policies), ("an endpoint", endpoints)):
        title = f"{name} changes on {scale.pods} pods, apply to the last acknowledgement"
        yield typical(CHANGES, title, "s", seconds, target=CHANGE_TARGET)


def _apply(namespace: MeshNamespace, document: dict[str, Any], scale: Scale) -> float:
    """Seconds until the last proxy had acknowledged it."""
    began = time.monotonic()
    answer = namespace.apply(json.dumps(document))
    taken = time.monotonic() - began
    if answer["acknowledged"] != answer["affected"] or answer["affected"] < scale.pods:
        raise RuntimeError(f"not every proxy was concerned and has acknowledged: {answer}")
    return taken


def _pod(number: int, *, chosen: bool) -> dict[str, Any]:
    # The program does nothing: what is measured is the mesh around it. It declares no port that would be waited for.
    container = {"name": "main", "command": ["sleep", "infinity"]}
    labels = {"app": "member", "member": str(number), "chosen": "yes" if chosen else "no"}
    metadata = {"name": f"member-{number}", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def _service(number: int) -> dict[str, Any]:
    selector = {"member": str(number), "chosen": "yes"}
    spec = {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"member-{number}"}, "spec": spec}


def _policy(path: str) -> dict[str, Any]:
    rule = {"to": [{"operation": {"paths": [path]}}]}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "deny-a-path"},
        "spec": {"action": "DENY", "rules": [rule]},
    }
