"""Pods on the real thing: programs, probes, restarts, ends, and an agent that is killed."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e import processes
from tests.e2e.waits import until

from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

OUTSIDE = {"sidecar.istio.io/inject": "false"}
# Says what it is told by signals and requests; a flag file in its directory makes it sick.
SERVER = """
import http.server, os, pathlib, signal, sys
flags = pathlib.Path(sys.argv[1])
def leave(number, frame):
    print("told to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        sick = (flags / name).exists()
        self.send_response(500 if sick else 200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
print("life begins", flush=True)
http.server.ThreadingHTTPServer((sys.argv[2] if len(sys.argv) > 2 else "0.0.0.0", 8080), Answer).serve_forever()
"""


def apply_pod(mesh: MeshNamespace, name: str, *containers: dict[str, Any], meshed: bool = False, **spec: Any) -> None:
    """The pod is declared; its programs are started by and by."""
    metadata: dict[str, Any] = {"name": name, "labels": {"app": name} if meshed else {"app": name, **OUTSIDE}}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), **spec}}
    mesh.apply(json.dumps(document))


def program(*argv: str, name: str = "main", **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": list(argv), **fields}


def server(directory: object, *arguments: str, **fields: Any) -> dict[str, Any]:
    return program(sys.executable, "-c", SERVER, str(directory), *arguments, **fields)


def status(mesh: MeshNamespace, name: str) -> dict[str, Any]:
    found: dict[str, Any] = mesh.get("pods", name).get("status", {})
    return found


def container(mesh: MeshNamespace, name: str) -> dict[str, Any]:
    found: dict[str, Any] = status(mesh, name)["containerStatuses"][0]
    return found


def condition(mesh: MeshNamespace, name: str, kind: str = "Ready") -> dict[str, Any]:
    return next((each for each in status(mesh, name).get("conditions", ()) if each["type"] == kind), {})


def ready(mesh: MeshNamespace, name: str) -> bool:
    return condition(mesh, name).get("status") == "True"


def log(mesh: MeshNamespace, name: str, query: str = "") -> str:
    return str(mesh.mesh.agent("GET", f"/v1/pods/{mesh.name}/{name}/logs{query}") or "")


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A directory that programs of any user can read."""
    found = tmp_path_factory.mktemp("flags")
    for path in (found, *found.parents[:2]):
        path.chmod(0o755)
    return found


def test_a_program_sees_its_pod_and_nothing_of_the_mesh(mesh: MeshNamespace) -> None:
    apply_pod(mesh, "alone", program("sleep", "infinity"))
    until(lambda: ready(mesh, "alone"), "the pod to be ready")
    script = (
        "import os, socket, json, pathlib as p; s = p.Path('/proc/self/status').read_text();"
        "print(json.dumps({'host': socket.gethostname(), 'first': p.Path('/proc/1/cmdline').read_text().split(chr(0))[0],"
        "'caps': [l.split()[1] for l in s.splitlines() if l.startswith('Cap')], 'links': sorted(os.listdir('/sys/class/net')),"
        f"'state': os.listdir({str(mesh.mesh.places.state)!r}), 'run': os.listdir({str(mesh.mesh.places.run)!r})}}))"
    )
    answer = mesh.exec("alone", sys.executable, "-c", script)
    seen = json.loads(answer.stdout or answer.stderr)
    assert (seen["host"], seen["first"]) == ("alone", "sleep")
    assert set(seen["caps"]) == {"0" * 16}
    assert seen["state"] == seen["run"] == []


def test_variables_directory_and_command_line_are_the_pods(mesh: MeshNamespace) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"level": "debug"}}
    mesh.apply(json.dumps(config))
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
    ]
    apply_pod(mesh, "env", program("sh", "-c", "echo $(IP) $LEVEL $PWD", workingDir="/tmp", env=env), restartPolicy="Never")
    until(lambda: status(mesh, "env").get("phase") == "Succeeded", "the program to end")
    assert log(mesh, "env").split() == [status(mesh, "env")["podIP"], "debug", "/tmp"]


def test_a_variable_whose_config_map_comes_later_is_waited_for(mesh: MeshNamespace) -> None:
    env = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "level"}}}]
    apply_pod(mesh, "patient", program("sh", "-c", "echo $LEVEL; exec sleep infinity", env=env))
    until(lambda: container(mesh, "patient")["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError", "the reason")
    mesh.apply(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"level": "info"}}))
    until(lambda: ready(mesh, "patient"), "the pod to be ready")
    assert log(mesh, "patient") == "info\n"


@pytest.mark.parametrize(
    ("command", "reason", "hint"), [((), "CommandMissing", "command"), (("no-such-program",), "ProgramNotFound", "no-such-program")]
)
def test_a_pod_that_cannot_run_says_why_and_does_not_loop(mesh: MeshNamespace, command: tuple[str, ...], reason: str, hint: str) -> None:
    apply_pod(mesh, "stuck", {"name": "main", "image": "nginx", **({"command": list(command)} if command else {})})
    until(lambda: condition(mesh, "stuck").get("reason") == reason, f"the reason {reason}")
    assert hint in condition(mesh, "stuck")["message"]
    assert container(mesh, "stuck")["restartCount"] == 0


def test_a_program_that_keeps_failing_is_restarted_ever_more_slowly(mesh: MeshNamespace) -> None:
    apply_pod(mesh, "crash", program("sh", "-c", "echo a life; exit 3"))
    until(lambda: container(mesh, "crash")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", "the back-off")
    found = container(mesh, "crash")
    assert (found["restartCount"], found["lastState"]["terminated"]["exitCode"]) == (1, 3)
    assert log(mesh, "crash", "?previous=true") == "a life\n"


def test_init_containers_run_one_after_the_other_before_the_programs(mesh: MeshNamespace, directory: Any) -> None:
    inits = [program("sh", "-c", f"echo {name}", name=name) for name in ("first", "second")]
    apply_pod(mesh, "staged", program("sh", "-c", "echo main"), initContainers=inits, restartPolicy="Never")
    until(lambda: status(mesh, "staged").get("phase") == "Succeeded", "the pod to end")
    times = [each["state"]["terminated"]["finishedAt"] for each in status(mesh, "staged")["initContainerStatuses"]]
    assert times == sorted(times)
    assert status(mesh, "staged")["containerStatuses"][0]["state"]["terminated"]["startedAt"] >= times[-1]


def test_a_failed_init_container_keeps_the_program_from_starting(mesh: MeshNamespace) -> None:
    apply_pod(mesh, "barred", program("sh", "-c", "echo never"), initContainers=[program("false", name="bar")], restartPolicy="Never")
    until(lambda: status(mesh, "barred").get("phase") == "Failed", "the pod to fail")
    assert log(mesh, "barred") == ""


def test_a_readiness_probe_decides_who_gets_requests(mesh: MeshNamespace, directory: Any) -> None:
    probe = {"httpGet": {"path": "/sick", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    apply_pod(mesh, "moody", server(directory, readinessProbe=probe))
    until(lambda: ready(mesh, "moody"), "the pod to be ready")
    (directory / "sick").touch()
    until(lambda: not ready(mesh, "moody"), "the pod to be unready")
    (directory / "sick").unlink()
    until(lambda: ready(mesh, "moody"), "the pod to be ready again")
    assert container(mesh, "moody")["restartCount"] == 0


def test_a_liveness_probe_restarts_the_program(mesh: MeshNamespace, directory: Any) -> None:
    probe = {"httpGet": {"path": "/dead", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1}
    apply_pod(mesh, "mortal", server(directory, ports=[{"name": "web", "containerPort": 8080}], livenessProbe=probe))
    until(lambda: ready(mesh, "mortal"), "the pod to be ready")
    (directory / "dead").touch()
    until(lambda: container(mesh, "mortal")["restartCount"] == 1, "the restart")
    (directory / "dead").unlink()
    until(lambda: ready(mesh, "mortal"), "the pod to be ready again")
    assert container(mesh, "mortal")["lastState"]["terminated"]["reason"] == "Unhealthy"
    assert "told to end" in log(mesh, "mortal", "?previous=true")


def test_a_container_may_be_called_as_the_sidecar_is(mesh: MeshNamespace) -> None:
    apply_pod(mesh, "namesake", program("sh", "-c", "echo the program; exec sleep infinity", name="proxy"), meshed=True)
    until(lambda: ready(mesh, "namesake"), "the pod to be ready")
    assert log(mesh, "namesake") == "the program\n"
    assert "the program" not in log(mesh, "namesake", "?proxy=true")


def test_a_program_on_loopback_only_is_probed_all_the_same(mesh: MeshNamespace, directory: Any) -> None:
    apply_pod(mesh, "shy", server(directory, "127.0.0.1", readinessProbe={"tcpSocket": {"port": 8080}}))
    until(lambda: ready(mesh, "shy"), "the pod to be ready")


@pytest.mark.parametrize(("code", "holds"), [("true", True), ("false", False)])
def test_an_exec_probe_asks_a_command(mesh: MeshNamespace, code: str, holds: bool) -> None:
    probe = {"exec": {"command": [code]}, "periodSeconds": 1, "failureThreshold": 1}
    apply_pod(mesh, "asked", program("sleep", "infinity", readinessProbe=probe))
    until(lambda: ready(mesh, "asked") is holds and bool(container(mesh, "asked")["state"].get("running")), "the probe's word")


def test_a_program_without_probes_is_ready_when_it_listens(mesh: MeshNamespace) -> None:
    late = f"sleep 1; exec {sys.executable} -m http.server 8080"
    apply_pod(mesh, "late", program("sh", "-c", late, ports=[{"containerPort": 8080}]))
    until(lambda: ready(mesh, "late"), "the pod to be ready")
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').status)"
    assert mesh.exec("late", sys.executable, "-c", script).stdout == "200\n"


def test_a_program_is_told_to_end_and_has_its_grace(mesh: MeshNamespace, directory: Any) -> None:
    hook = {"preStop": {"httpGet": {"path": "/asked-first", "port": 8080}}}
    apply_pod(mesh, "polite", server(directory, lifecycle=hook))
    until(lambda: ready(mesh, "polite"), "the pod to be ready")
    mesh.log_line("polite", "life begins")
    lines: list[str] = []
    reader = threading.Thread(target=_follow, args=(mesh, "polite", lines))
    reader.start()
    mesh.delete("Pod", "polite")
    until(lambda: not _exists(mesh, "polite"), "the pod to be gone")
    reader.join(10)
    asked = next(index for index, line in enumerate(lines) if "GET /asked-first" in line)
    assert "told to end" in lines[asked:]


def test_a_program_that_would_not_hear_of_its_end_is_not_waited_for(mesh: MeshNamespace) -> None:
    apply_pod(mesh, "deaf", program("sleep", "infinity"), terminationGracePeriodSeconds=600)
    until(lambda: ready(mesh, "deaf"), "the pod to be ready")
    mesh.delete("Pod", "deaf")
    until(lambda: not _exists(mesh, "deaf"), "the pod to be gone", patience=30)


def test_a_program_that_ignores_its_end_is_killed_after_its_grace(mesh: MeshNamespace) -> None:
    apply_pod(mesh, "stubborn", program("sh", "-c", "trap : TERM; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=2)
    until(lambda: ready(mesh, "stubborn"), "the pod to be ready")
    mesh.delete("Pod", "stubborn")
    until(lambda: not _exists(mesh, "stubborn"), "the pod to be gone", patience=30)


def test_a_killed_agent_finds_its_pods_again(own_mesh: Callable[..., Mesh], directory: Any) -> None:
    mesh = own_mesh().namespace("found")
    apply_pod(mesh, "steady", server(directory), meshed=True)
    apply_pod(mesh, "leaving", program("sleep", "infinity"))
    until(lambda: ready(mesh, "steady") and ready(mesh, "leaving"), "the pods to be ready")
    before = container(mesh, "steady")
    processes.kill(mesh.mesh, "agent")
    mesh.mesh.api("POST", "/v1/delete", {"kind": "Pod", "names": ["leaving"], "namespace": mesh.name})
    until(lambda: not _exists(mesh, "leaving"), "the deleted pod to be gone")
    apply_pod(mesh, "new", program("sleep", "infinity"))
    until(lambda: ready(mesh, "new"), "a new pod to be ready")
    after = container(mesh, "steady")
    assert (after["restartCount"], after["state"]) == (0, before["state"])
    assert ready(mesh, "steady")


def test_running_pods_keep_their_addresses_when_the_agent_has_lost_its_book(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh().namespace("book")
    for name in ("first", "second"):
        apply_pod(mesh, name, program("sleep", "infinity"))
        until(lambda name=name: ready(mesh, name), "the pod to be ready")  # type: ignore[misc]
    mesh.delete("Pod", "first")  # its address is the one that a book begun anew would give next
    until(lambda: not _exists(mesh, "first"), "the pod to be gone")
    before = status(mesh, "second")["podIPs"]
    with processes.halted(mesh.mesh, "agent"):
        (mesh.mesh.places.agent_state / "addresses.json").write_text('{"next": 3, "pods": {"so')
        processes.kill(mesh.mesh, "agent")
    apply_pod(mesh, "third", program("sleep", "infinity"))
    until(lambda: ready(mesh, "third"), "a new pod to be ready")
    assert status(mesh, "second")["podIPs"] == before
    assert mesh.exec("second", "hostname", "-I").stdout.split()[0] == before[0]["ip"]
    assert status(mesh, "third")["podIP"] not in ("", before[0]["ip"])


def test_an_agent_that_starts_without_a_control_plane_goes_on_with_what_it_knows(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh().namespace("alone")
    apply_pod(mesh, "reborn", program("sh", "-c", "echo a life; exec sleep infinity"))
    until(lambda: ready(mesh, "reborn"), "the pod to be ready")
    before = mesh.mesh.places.process_log("control-plane").stat().st_size
    stop = threading.Event()

    def keep_down() -> None:
        while not stop.is_set():
            try:
                processes.kill(mesh.mesh, "control-plane")
            except LookupError:
                time.sleep(0.01)

    killer = threading.Thread(target=keep_down)
    killer.start()
    try:
        processes.kill(mesh.mesh, "agent")
        until(lambda: bool(mesh.mesh.agent("GET", "/v1/pods")["items"]), "the agent to know its pod")
    finally:
        stop.set()
        killer.join()
    until(lambda: ready(mesh, "reborn"), "the control plane to answer again")
    assert container(mesh, "reborn")["restartCount"] == 0
    assert mesh.mesh.places.process_log("control-plane").stat().st_size >= before


def _exists(mesh: MeshNamespace, name: str) -> bool:
    listed = mesh.mesh.api("GET", f"/v1/objects/pods?namespace={mesh.name}")["items"]
    return any(each["metadata"]["name"] == name for each in listed)


def _follow(mesh: MeshNamespace, name: str, lines: list[str]) -> None:
    from hauberk.kit.unix_http import NotReachable, UnixHttp

    try:
        for line in UnixHttp(mesh.mesh.places.agent_socket).stream_lines(f"/v1/pods/{mesh.name}/{name}/logs?follow=true", timeout=5):
            lines.append(line)
    except (NotReachable, MeshFailed):
        return
