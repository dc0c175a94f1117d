"""Parts of the mesh die or hang: no traffic without its sidecar, none lost without the control plane, and everything comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e import objects, processes
from tests.e2e.callers import ask
from tests.e2e.objects import authorization_policy, port, rule
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

# Asks whenever it is told to, while the agent, which would start commands, stands still.
ASKING = """
import sys, urllib.request as u
print("listening", flush=True)
for line in sys.stdin:
    try:
        print("answered by", line.strip(), u.urlopen(line.strip(), timeout=5).status, flush=True)
    except OSError as error:
        print("refused by", line.strip(), error, flush=True)
"""


def populate(mesh: MeshNamespace) -> MeshNamespace:
    """A server and a caller, ready."""
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("client", "web")),
        objects.pod("web", server_command("http@[::]:8080"), account="web"),
        objects.service("web", port(80, "http", 8080)),
        objects.idle("client", account="client"),
    )
    mesh.ready("web", "client")
    return mesh


@pytest.fixture(scope="module")
def fragile(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server and a caller in a mesh whose parts are halted and whose Envoys are killed."""
    mesh = populate(shared_mesh.namespace("fragile"))
    yield mesh
    mesh.clear()


def answers(mesh: MeshNamespace) -> bool:
    return bool(ask(mesh, "client", "http", "web", 80).get("status") == 200)


@pytest.mark.parametrize("side", ["client", "web"])
def test_without_its_envoy_a_pod_has_no_traffic_until_it_is_restarted(fragile: MeshNamespace, side: str) -> None:
    # Addresses, because the agent, which stands still, is also who resolves names.
    service, pod = fragile.get("services", "web")["spec"]["clusterIP"], fragile.get("pods", "web")["status"]["podIP"]
    envoy = processes.find_envoy(fragile, side)
    with fragile.spawn("client", sys.executable, "-c", ASKING) as asking:
        asking.expect("listening")
        before = fragile.log("web")
        with processes.halted(fragile.mesh, "agent"):
            os.kill(envoy, signal.SIGKILL)
            until(lambda: not processes.lives(envoy), "the end of the Envoy")
            # Neither by the service nor past it to the pod itself.
            for address in (service, f"{pod}:8080"):
                asking.say(f"http://{address}/")
                assert "refused" in asking.expect("http")
        assert fragile.log("web") == before
        until(lambda: answers(fragile), "an answer through the new Envoy")
    assert fragile.get("pods", side)["status"]["containerStatuses"][0]["restartCount"] == 0


def test_without_a_control_plane_names_resolve_and_a_restarted_envoy_has_its_configuration(fragile: MeshNamespace) -> None:
    objects.apply(fragile, authorization_policy("no-secrets", "DENY", rule(to={"paths": ["/secret"]}), app="web"))
    envoys = [processes.find_envoy(fragile, side) for side in ("client", "web")]
    with fragile.spawn("client", sys.executable, "-c", ASKING) as asking, processes.halted(fragile.mesh, "control-plane"):

        def asked(path: str) -> str:
            asking.say(f"http://web.fragile.svc.cluster.local{path}")
            return asking.expect("http")

        assert " 200" in asked("/before")
        for each in envoys:
            os.kill(each, signal.SIGKILL)
        until(lambda: " 200" in asked("/after"), "an answer through the new Envoys")
        assert "403" in asked("/secret")
    fragile.delete("AuthorizationPolicy", "no-secrets")


@pytest.fixture
def enduring(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Callable[[], Mesh]]:
    """Starts the same mesh as often as it is called, by the command."""
    home = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    home.chmod(0o711)
    monkeypatch.setenv(STATE_VARIABLE, str(home / "s"))
    monkeypatch.setenv(RUN_VARIABLE, str(home / "r"))
    rootless = ["--rootless"] if request.config.getoption("--mesh-rootless") else []

    def start() -> Mesh:
        _hauberk("up", "--detach", "--wait", *rootless)
        return Mesh(Places())

    yield start
    _hauberk("down", "--purge")
    shutil.rmtree(home)


def _hauberk(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "hauberk", *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_after_everything_was_killed_the_next_up_brings_back_pods_identities_and_policies(enduring: Callable[[], Mesh]) -> None:
    mesh = populate(enduring().namespace("back"))
    objects.apply(mesh, authorization_policy("no-post", "DENY", rule(to={"methods": ["POST"]}), app="web"))
    assert answers(mesh)
    keys = mesh.mesh.api("GET", "/v1/ca/bundle")["keys"]
    for part in ("agent", "control-plane", "init"):
        processes.kill(mesh.mesh, part)
    mesh = enduring().namespace("back")
    mesh.ready("web", "client")
    assert mesh.mesh.api("GET", "/v1/ca/bundle")["keys"] == keys
    assert answers(mesh)
    assert ask(mesh, "client", "http", "web", 80, method="POST")["status"] == 403
    (record,) = mesh.records(at_least=1, denied=True, where=lambda each: each["reporter"] == "destination")
    assert record["source"]["identity"] == "spiffe://cluster.local/ns/back/sa/client"
