"""Nothing that happens to the mesh's own parts costs a request."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from tests.e2e import processes
from tests.e2e.load import Load, constant_load
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

SERVER = """
import http.server, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
"""


def arrange(mesh: MeshNamespace, replicas: int = 2) -> None:
    """A server with replicas and a client, ready."""
    mesh.run("web", [sys.executable, "-c", SERVER], port="http:8080", replicas=replicas)
    mesh.run("client", ["sleep", "infinity"])


def assert_unharmed(load: Load) -> None:
    assert load.total > 100
    assert load.failed == 0, f"{load.failed} of {load.total} failed: {load.failures}"


@pytest.fixture
def loaded(own_mesh: Callable[..., Mesh]) -> Iterator[MeshNamespace]:
    """A mesh whose parts may be killed, with a server and a client."""
    mesh = own_mesh().namespace("load")
    arrange(mesh)
    yield mesh


def replicas_ready(mesh: MeshNamespace, count: int) -> None:
    """The rollout is over: so many pods, all ready and of the newest template."""

    def settled() -> bool:
        deployment = mesh.get("deployments", "web")
        status = deployment.get("status", {})
        listed = mesh.mesh.api("GET", f"/v1/objects/pods?namespace={mesh.name}&labelSelector=app%3Dweb")["items"]
        seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
        counts = {status.get(name) for name in ("replicas", "readyReplicas", "updatedReplicas")}
        return seen and counts == {count} and len(listed) == count

    until(settled, f"{count} replicas of web")


def test_scaling_up_and_down_costs_no_request(mesh: MeshNamespace) -> None:
    arrange(mesh, replicas=1)
    with constant_load(mesh, "web:8080") as load:
        for count in (10, 1):
            mesh.mesh.api("PATCH", f"/v1/objects/deployments/{mesh.name}/web", {"spec": {"replicas": count}})
            replicas_ready(mesh, count)
    assert_unharmed(load)


def test_a_rolling_restart_costs_no_request(mesh: MeshNamespace) -> None:
    arrange(mesh, replicas=3)
    before = mesh.pod("web")
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}}}
    with constant_load(mesh, "web:8080") as load:
        mesh.mesh.api("PATCH", f"/v1/objects/deployments/{mesh.name}/web", restart)
        replicas_ready(mesh, 3)
    assert_unharmed(load)
    assert mesh.pod("web") != before


def test_a_killed_control_plane_costs_no_request_and_sends_nothing_again(loaded: MeshNamespace) -> None:
    sent = resources_received(loaded, "client")
    with constant_load(loaded, "web:8080") as load:
        killed = processes.kill(loaded.mesh, "control-plane")
        until(lambda: processes.find(loaded.mesh, "control-plane") != killed, "another control plane")
        until(lambda: all_synced(loaded.mesh), "every proxy known to the new control plane")
    assert_unharmed(load)
    assert resources_received(loaded, "client") == sent


def test_a_killed_agent_costs_no_request_and_new_pods_come_up_afterwards(loaded: MeshNamespace) -> None:
    with constant_load(loaded, "web:8080") as load:
        killed = processes.kill(loaded.mesh, "agent")
        until(lambda: processes.find(loaded.mesh, "agent") != killed, "another agent")
        loaded.run("late", [sys.executable, "-c", SERVER], port="http:8080")
    assert_unharmed(load)
    assert loaded.request("client", "late:8080").status == 200


def test_rotation_every_few_seconds_costs_no_request(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh(settings={"HAUBERK_CERTIFICATE_LIFETIME": "6s"}).namespace("load")
    arrange(mesh)
    seen: set[str] = set()

    def four_seen() -> bool:
        seen.add(certificate(mesh, "load"))
        return len(seen) == 4

    with constant_load(mesh, "web:8080") as load:
        until(four_seen, "the fourth certificate")
    assert_unharmed(load)


def certificate(mesh: MeshNamespace, app: str) -> str:
    """The serial of the pod's certificate."""
    pod = mesh.pod(app)
    found = [each for each in mesh.mesh.agent("GET", "/v1/status")["proxies"] if each["pod"] == pod]
    return str(found[0]["certificate"]["serial"])


def all_synced(mesh: Mesh) -> bool:
    """Every proxy has acknowledged what this control plane holds for it."""
    proxies = mesh.api("GET", "/v1/status")["proxies"]
    return len(proxies) == 4 and all(each["synced"] for each in proxies)


def resources_received(mesh: MeshNamespace, app: str) -> dict[str, str]:
    """How often the pod's Envoy took listeners, clusters and secrets: its own counters."""
    text = mesh.mesh.agent("GET", f"/v1/pods/{mesh.name}/{mesh.pod(app)}/envoy/stats?filter=update_success")
    pairs = (line.split(": ") for line in str(text).splitlines() if ": " in line)
    return {name: value for name, value in pairs if "cds" in name or "lds" in name}
