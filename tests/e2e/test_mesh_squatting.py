"""A program cannot take its sidecar's place on the ports where traffic is captured."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from tests.e2e import processes
from tests.e2e.waits import until

from hauberk.testing.answer import ConnectionFailed
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace
from hauberk.testing.running import Running

# Told a port and how long to try, takes it if it can and says what it hears there within three seconds.
SQUATTER = """
import socket, sys, time
print("listening", flush=True)
def take(port):
    found = socket.socket(socket.AF_INET6)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(("::", port))
    found.listen()
    return found
for line in sys.stdin:
    port, patience = map(int, line.split())
    deadline, found = time.monotonic() + patience, None
    while found is None:
        try:
            found = take(port)
        except OSError as error:
            if time.monotonic() >= deadline:
                print("refused", error, flush=True)
                break
            time.sleep(0.01)
    if found is None:
        continue
    print("taken", flush=True)
    found.settimeout(3)
    try:
        connection, _ = found.accept()
        connection.settimeout(3)
        print("heard", connection.recv(100), flush=True)
    except OSError as error:
        print("silent", error, flush=True)
    found.close()
"""


@pytest.fixture(scope="module")
def pier(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A pod with a sidecar, and a caller without one."""
    mesh = shared_mesh.namespace("squatting")
    mesh.run("victim", ["sleep", "infinity"])
    mesh.run("outsider", ["sleep", "infinity"], inject=False)
    yield mesh
    mesh.clear()


@pytest.fixture
def squatter(pier: MeshNamespace) -> Iterator[Running]:
    """A program beside the sidecar that takes ports."""
    with pier.spawn("victim", sys.executable, "-c", SQUATTER) as running:
        running.expect("listening")
        yield running


@pytest.mark.parametrize("port", [15001, 15006])
def test_a_capture_port_cannot_be_shared_with_the_sidecar(squatter: Running, port: int) -> None:
    squatter.say(f"{port} 0")
    assert "refused" in squatter.expect("e")


def test_whoever_takes_a_capture_port_of_a_dead_sidecar_hears_nothing(pier: MeshNamespace, squatter: Running) -> None:
    victim = pier.pod("victim")
    address = pier.get("pods", victim)["status"]["podIP"]
    envoy = processes.find_envoy(pier, victim)
    outsider, calling = pier.pod("outsider"), "import socket, sys; s = socket.create_connection((sys.argv[1], 80), 2); s.send(b'secret')"
    with pier.spawn(outsider, sys.executable, "-c", f"import sys\nsys.stdin.readline()\n{calling}", address) as caller:
        with processes.halted(pier.mesh, "agent"):
            os.kill(envoy, signal.SIGKILL)
            until(lambda: not processes.lives(envoy), "the end of the Envoy")
            squatter.say("15006 10")  # a dead Envoy's sockets are closed a moment after it
            squatter.expect("taken")
            caller.say("now")
            assert "silent" in squatter.expect("e")
        caller.close_input()
        assert caller.wait().exit_code != 0
    until(lambda: refused(pier, address), "the sidecar's return")


def refused(mesh: MeshNamespace, address: str) -> bool:
    """The sidecar is back, and turns away who has no identity at once, where the empty port would have let him wait or refused him."""
    try:
        mesh.request("outsider", f"{address}:80", timeout=3)
    except ConnectionFailed as failure:
        return "Reset" in failure.reason or "Remote" in failure.reason
    return False
