"""How long it takes from nothing to the first request over mutual TLS, and how long a further pod takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench import program
from bench.line import Line, typical
from bench.scale import Scale
from hauberk.citadel.settings import LIFETIME_VARIABLE
from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE
from hauberk.testing.mesh import running_mesh
from hauberk.testing.namespace import MeshNamespace

GROUP = "starting"
FIRST_TARGET, FURTHER_TARGET = 5.0, 1.0  # seconds
IDENTITY_TARGET = 100.0  # milliseconds


def measure(scale: Scale) -> Iterator[Line]:
    """From `hauberk up` to an answer, with the commands that a person would type; then pods in a mesh that runs."""
    # The first one reads files from the disk that all others find in memory: that is what "warm" excludes.
    _from_nothing(scale)
    times = [_from_nothing(scale) for _ in range(scale.repeats)]
    yield typical(GROUP, "hauberk up --wait", "s", [ready for ready, _ in times])
    name = "hauberk up --wait, two pods, first request by mutual TLS"
    yield typical(GROUP, name, "s", [served for _, served in times], target=FIRST_TARGET, note="a fresh mesh with a new authority")
    further = _further_pods(scale)
    yield typical(GROUP, "a further pod, apply to its first served request", "s", further, target=FURTHER_TARGET)
    name = "a pod's identity: key, request, attestation, certificate, secret acknowledged by its Envoy"
    yield typical(GROUP, name, "ms", _identities(scale), target=IDENTITY_TARGET, note="of a running pod: without its Envoy's own start")


def _from_nothing(scale: Scale) -> tuple[float, float]:
    """Seconds until the mesh was ready, and until the first answer."""
    with tempfile.TemporaryDirectory(prefix="hb-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        environment = os.environ | {STATE_VARIABLE: str(directory / "state"), RUN_VARIABLE: str(directory / "run")}
        began = time.monotonic()
        try:
            _hauberk(environment, "up", "--detach", "--wait")
            ready = time.monotonic() - began
            port = f"http:{program.PORT}"
            # As two terminals would: neither waits for the other.
            server = _started(environment, "run", "web", "--port", port, "--", *program.server())
            client = _started(environment, "run", "client", "--", "sleep", "infinity")
            for each in (server, client):
                _finished(each)
            _hauberk(environment, "exec", "client", "--", *program.caller("web"))
            served = time.monotonic() - began
        finally:
            subprocess.run([*COMMAND, "down", "--purge"], env=environment, capture_output=True, check=False)
    scale.tell(f"ready after {ready:.2f} s, first answer after {served:.2f} s")
    return ready, served


def _further_pods(scale: Scale) -> list[float]:
    with running_mesh("bench-pod") as mesh:
        namespace = mesh.namespace("bench")
        namespace.run("client", ["sleep", "infinity"])
        return [_further_pod(namespace, f"late-{number}", scale) for number in range(scale.repeats * 2)]


def _further_pod(namespace: MeshNamespace, name: str, scale: Scale) -> float:
    service = {"ports": [{"name": "http", "port": program.PORT}], "selector": {"app": name}}
    container = {"name": "main", "command": program.server(), "ports": [{"containerPort": program.PORT}]}
    pod = {"kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [container]}}
    # The service and its name are there before; only the pod is what is waited for.
    namespace.apply(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service}))
    with namespace.spawn("client", *program.caller(name)) as calling:
        calling.expect("calling")
        began = time.time()
        text = json.dumps({"apiVersion": "v1", **pod})
        namespace.mesh.api("POST", "/v1/apply", {"files": [{"name": name, "text": text}], "namespace": namespace.name})
        taken = float(calling.expect("served").split()[1]) - began
    scale.tell(f"a further pod served after {taken:.2f} s")
    namespace.delete("Pod", name)
    return taken


def _identities(scale: Scale) -> list[float]:
    """Milliseconds, as the agent itself measures each renewal."""
    with running_mesh("bench-identity", settings={LIFETIME_VARIABLE: "4s"}) as mesh:
        mesh.namespace("bench").run("web", program.server(), port=f"http:{program.PORT}")
        with mesh.places.process_log("agent").open() as log:
            taken: list[float] = []
            while len(taken) < scale.repeats * 4:
                said = json.loads(log.readline() or "null")
                if said is None:
                    time.sleep(0.1)
                elif said.get("message") == "certificate in use" and said.get("renewed"):
                    taken.append(float(said["seconds"]) * 1000)
                    scale.tell(f"a certificate in use after {taken[-1]:.1f} ms")
    return taken


COMMAND = (sys.executable, "-m", "hauberk")


def _hauberk(environment: Mapping[str, str], *arguments: str) -> None:
    _finished(_started(environment, *arguments))


def _started(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finished(command: subprocess.Popen[str]) -> None:
    printed, _ = command.communicate()
    if command.returncode:
        raise RuntimeError(f"{command.args!r} failed: {printed}")
