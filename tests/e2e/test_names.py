"""Names as programs in pods resolve them, through the system's own resolver and on the wire."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import processes
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

# Each name as `getaddrinfo` finds it: addresses, or the error's number.
RESOLVE = """
import json, socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = sorted({each[4][0] for each in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
    except socket.gaierror as error:
        found[name] = socket.EAI_NONAME == error.errno and "no such name" or str(error)
print(json.dumps(found))
"""
# One query over UDP or TCP to every name server of the pod: response code, number of answers, whether it was cut.
QUERY = """
import json, socket, struct, sys
protocol, name, kind = sys.argv[1], sys.argv[2], int(sys.argv[3])
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack("!2H", kind, 1)
def exactly(stream, size):
    data = b""
    while len(data) < size:
        data += stream.recv(size - len(data))
    return data
answers = []
for line in open("/etc/resolv.conf"):
    if line.startswith("nameserver"):
        address = line.split()[1]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as asked:
            asked.settimeout(10)
            asked.connect((address, 53))
            if protocol == "udp":
                asked.send(query)
                reply = asked.recv(65535)
            else:
                asked.sendall(struct.pack("!H", len(query)) + query)
                reply = exactly(asked, struct.unpack("!H", exactly(asked, 2))[0])
        number, flags, _, count, authority, _ = struct.unpack("!6H", reply[:12])
        answers.append({"code": flags & 15, "answers": count, "authority": authority, "cut": bool(flags & 0x0200)})
assert all(each == answers[0] for each in answers), answers
print(json.dumps(answers[0]))
"""
A, AAAA, MX = 1, 28, 15
NO_ERROR, NO_SUCH_NAME = 0, 3


def service(name: str, headless: bool = False) -> str:
    spec: dict[str, Any] = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec | ({"clusterIP": "None"} if headless else {})}
    )


def resolve(mesh: MeshNamespace, *names: str) -> dict[str, Any]:
    answer = mesh.exec("asker", sys.executable, "-c", RESOLVE, *names)
    assert answer.exit_code == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def query(mesh: MeshNamespace, protocol: str, name: str, kind: int) -> dict[str, Any]:
    answer = mesh.exec("asker", sys.executable, "-c", QUERY, protocol, name, str(kind))
    assert answer.exit_code == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def addresses(mesh: MeshNamespace, name: str) -> list[str]:
    return sorted(mesh.get("services", name)["spec"]["clusterIPs"])


def known(mesh: MeshNamespace, name: str) -> None:
    """The name server has heard of the service."""
    until(lambda: isinstance(resolve(mesh, name)[name], list), f"the name {name}")


@pytest.mark.parametrize("inject", [True, False], ids=["meshed", "outside"])
def test_a_service_has_all_its_names(mesh: MeshNamespace, inject: bool) -> None:
    mesh.run("asker", ["sleep", "infinity"], inject=inject)
    mesh.apply(service("web"))
    known(mesh, "web")
    names = ["web", f"web.{mesh.name}", f"web.{mesh.name}.svc", f"web.{mesh.name}.svc.cluster.local", f"web.{mesh.name}.svc.cluster.local."]
    assert resolve(mesh, *names) == dict.fromkeys(names, addresses(mesh, "web"))


def test_names_that_do_not_exist_are_denied(mesh: MeshNamespace) -> None:
    mesh.run("asker", ["sleep", "infinity"], inject=False)
    missing = f"missing.{mesh.name}.svc.cluster.local"
    assert resolve(mesh, missing) == {missing: "no such name"}


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
@pytest.mark.parametrize("inject", [True, False], ids=["meshed", "outside"])
def test_answers_on_the_wire_are_as_they_should_be(mesh: MeshNamespace, protocol: str, inject: bool) -> None:
    mesh.run("asker", ["sleep", "infinity"], inject=inject)
    mesh.apply(service("web"))
    known(mesh, "web")
    suffix = f"{mesh.name}.svc.cluster.local"
    for kind in (A, AAAA):
        assert query(mesh, protocol, f"web.{suffix}", kind) == {"code": NO_ERROR, "answers": 1, "authority": 0, "cut": False}
    assert query(mesh, protocol, f"web.{suffix}", MX) == {"code": NO_ERROR, "answers": 0, "authority": 1, "cut": False}
    assert query(mesh, protocol, f"nope.{suffix}", A) == {"code": NO_SUCH_NAME, "answers": 0, "authority": 1, "cut": False}


def test_a_headless_service_is_its_ready_pods(mesh: MeshNamespace) -> None:
    mesh.apply(service("db", headless=True))
    mesh.run("db", ["sleep", "infinity"], replicas=2, inject=False)
    mesh.run("asker", ["sleep", "infinity"], inject=False)

    def pods() -> list[str]:
        listed = mesh.mesh.api("GET", f"/v1/objects/pods?namespace={mesh.name}&labelSelector=app%3Ddb")["items"]
        return sorted(each["ip"] for pod in listed for each in pod["status"]["podIPs"])

    until(lambda: resolve(mesh, "db")["db"] == pods() and len(pods()) == 4, "the pods' addresses")


def test_other_names_are_asked_of_the_machines_resolvers_or_denied_without_any(own_mesh: Callable[..., Mesh], tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# none\n")
    mesh = own_mesh(settings={"HAUBERK_AGENT_RESOLV_CONF": str(tmp_path / "resolv.conf")}).namespace("far")
    mesh.run("asker", ["sleep", "infinity"], inject=False)
    assert query(mesh, "udp", "example.com", A)["code"] == NO_SUCH_NAME


def test_names_resolve_while_agent_and_control_plane_are_killed(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh().namespace("steady")
    mesh.run("asker", ["sleep", "infinity"], inject=False)
    mesh.apply(service("web"))
    known(mesh, "web")
    # Asked for from inside, because a session would end with the agent: every answer for seconds, while both are killed and return.
    script = (
        "import socket, time, sys\nend = time.time() + 6\nwrong = 0\ncount = 0\n"
        "while time.time() < end:\n"
        "    try:\n        socket.getaddrinfo('web', 80)\n        count += 1\n"
        "    except OSError as error:\n        wrong += 1\n        print(error, flush=True)\n    time.sleep(0.02)\n"
        "print('asked', count, 'wrong', wrong, flush=True)\ntime.sleep(600)"
    )
    mesh.run("loop", [sys.executable, "-c", script], inject=False)
    processes.kill(mesh.mesh, "control-plane")
    processes.kill(mesh.mesh, "agent")
    until(lambda: "asked" in str(mesh.mesh.agent("GET", f"/v1/pods/{mesh.name}/{mesh.pod('loop')}/logs")), "the end of the loop")
    last = str(mesh.mesh.agent("GET", f"/v1/pods/{mesh.name}/{mesh.pod('loop')}/logs")).splitlines()[-1]
    assert last.endswith("wrong 0"), last
