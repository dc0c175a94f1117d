"""How programs of pods are run: as which user, with what around them, and what asks after their health."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.objects import Document, port
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace


@pytest.fixture(scope="module")
def yard(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A caller, beside which tests put what they need."""
    mesh = shared_mesh.namespace("programs")
    objects.apply(mesh, objects.idle("client"))
    mesh.ready("client")
    yield mesh
    mesh.clear()


def container(mesh: MeshNamespace, name: str) -> Document:
    found: Document = mesh.get("pods", name)["status"]["containerStatuses"][0]
    return found


def is_ready(mesh: MeshNamespace, name: str) -> bool:
    return bool(container(mesh, name)["ready"])


def test_a_program_is_told_about_its_pod_by_field_references(yard: MeshNamespace) -> None:
    paths = {
        "NAME": "metadata.name",
        "SPACE": "metadata.namespace",
        "UID": "metadata.uid",
        "IP": "status.podIP",
        "IPS": "status.podIPs",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "LABEL": "metadata.labels['colour']",
        "NOTE": "metadata.annotations['note/one']",
    }
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    env.append({"name": "BOTH", "value": "$(NAME).$(SPACE) $$(NAME) $(UNKNOWN)"})
    objects.apply(
        yard,
        objects.idle("told", container={"env": env}, labels={"colour": "red"}, annotations={"note/one": "two words"}, account="default"),
    )
    yard.ready("told")
    seen = json.loads(yard.exec("told", sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))").check().stdout)
    pod = yard.get("pods", "told")
    assert {name: seen[name] for name in paths} == {
        "NAME": "told",
        "SPACE": "programs",
        "UID": pod["metadata"]["uid"],
        "IP": pod["status"]["podIP"],
        "IPS": ",".join(each["ip"] for each in pod["status"]["podIPs"]),
        "NODE": pod["spec"]["nodeName"],
        "ACCOUNT": "default",
        "LABEL": "red",
        "NOTE": "two words",
    }
    assert seen["BOTH"] == "told.programs $(NAME) $(UNKNOWN)"


def test_a_program_runs_as_the_user_and_in_the_directory_it_is_told(yard: MeshNamespace) -> None:
    fields = {"securityContext": {"runAsUser": 12345, "runAsGroup": 23456}, "workingDir": "/usr"}
    objects.apply(yard, objects.pod("user", ["sh", "-c", "id -u; id -g; pwd; exec sleep infinity"], container=fields))
    yard.ready("user")
    assert yard.log("user").split() == ["12345", "23456", "/usr"]
    assert yard.exec("user", "id", "-u").stdout == "12345\n"


def test_a_program_finds_no_door_to_its_sidecar(yard: MeshNamespace) -> None:
    script = """if True:
        import json, os, pathlib, socket
        rows = [row.split() for name in ("tcp", "tcp6") for row in pathlib.Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]]
        listening = sorted({int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"})
        named = [row.split()[-1] for row in pathlib.Path("/proc/self/net/unix").read_text().splitlines()[1:] if len(row.split()) == 8]
        def opens(path):
            try:
                socket.socket(socket.AF_UNIX).connect(path)
            except OSError:
                return False
            return True
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
        commands = {pathlib.Path(f"/proc/{name}/cmdline").read_text().split(chr(0))[0] for name in processes}
        print(json.dumps({"listening": listening, "open": [path for path in named if opens(path.replace("@", chr(0), 1))],
                          "envoy": [each for each in commands if "envoy" in each]}))
    """
    seen = json.loads(yard.exec("client", sys.executable, "-c", script).check().stdout)
    assert seen == {"listening": [15001, 15006], "open": [], "envoy": []}


HTTPS = """
import http.server, os, ssl, tempfile
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
with tempfile.NamedTemporaryFile("w") as file:
    file.write(os.environ["IDENTITY"])
    file.flush()
    context.load_cert_chain(file.name)
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists("/tmp/sick-https") else 200)
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Healthy)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def test_an_https_probe_asks_whoever_answers_and_looks_at_no_certificate(yard: MeshNamespace) -> None:
    probe = {"httpGet": {"port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1, "failureThreshold": 1}
    env = [{"name": "IDENTITY", "value": self_signed("somebody.example")}]
    objects.apply(yard, objects.pod("secure", [sys.executable, "-c", HTTPS], container={"readinessProbe": probe, "env": env}))
    yard.ready("secure")
    yard.exec("secure", "touch", "/tmp/sick-https").check()
    try:
        until(lambda: not is_ready(yard, "secure"), "the pod to be unready")
    finally:
        yard.exec("secure", "rm", "/tmp/sick-https").check()
    until(lambda: is_ready(yard, "secure"), "the pod to be ready again")


def self_signed(name: str) -> str:
    """A key and a certificate that nobody trusts, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)).decode()


def test_a_grpc_probe_asks_the_health_service(yard: MeshNamespace) -> None:
    probe = {"grpc": {"port": 8082}, "periodSeconds": 1, "failureThreshold": 1}
    objects.apply(yard, objects.pod("health", server_command("grpc@0.0.0.0:8082"), container={"readinessProbe": probe}))
    yard.ready("health")
    yard.exec("health", "touch", "/tmp/sick").check()
    try:
        until(lambda: not is_ready(yard, "health"), "the pod to be unready")
    finally:
        yard.exec("health", "rm", "/tmp/sick").check()
    until(lambda: is_ready(yard, "health"), "the pod to be ready again")
    assert container(yard, "health")["restartCount"] == 0


def test_a_startup_probe_holds_the_others_back_and_ends_a_program_that_never_starts(yard: MeshNamespace) -> None:
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}
    harmless = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    objects.apply(
        yard,
        objects.pod("slow", ["sleep", "infinity"], container={"startupProbe": never, "readinessProbe": harmless}, restartPolicy="Never"),
    )
    until(lambda: yard.get("pods", "slow")["status"].get("phase") == "Failed", "the program to be ended")
    assert not is_ready(yard, "slow")


def test_a_liveness_probe_by_tcp_restarts_and_what_was_printed_before_is_kept(yard: MeshNamespace) -> None:
    probe = {"tcpSocket": {"port": 9000}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 1}
    command = server_command("tcp@0.0.0.0:9001")
    objects.apply(yard, objects.pod("deaf", ["sh", "-c", f"echo a life; exec {' '.join(command)}"], container={"livenessProbe": probe}))
    until(lambda: container(yard, "deaf")["restartCount"] >= 1, "the restart")
    assert "a life" in str(yard.mesh.agent("GET", "/v1/pods/programs/deaf/logs?previous=true"))


def test_only_a_program_that_failed_is_restarted_on_failure(yard: MeshNamespace) -> None:
    objects.apply(
        yard,
        objects.pod("good", ["true"], restartPolicy="OnFailure"),
        objects.pod("bad", ["sh", "-c", "exit 7"], restartPolicy="OnFailure"),
        objects.pod("always", ["true"]),
    )
    until(lambda: yard.get("pods", "good")["status"].get("phase") == "Succeeded", "the good one to have succeeded")
    until(lambda: all(container(yard, name)["restartCount"] >= 1 for name in ("bad", "always")), "the others to be restarted")
    assert container(yard, "good")["restartCount"] == 0
    assert container(yard, "bad")["lastState"]["terminated"]["exitCode"] == 7


def test_a_pod_that_ends_answers_until_its_pre_stop_hook_is_over_and_then_is_told_to_end(mesh: MeshNamespace) -> None:
    slow = """if True:
        import http.server, signal, sys, time
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                print("asked", self.path, flush=True)
                time.sleep(1 if self.path == "/slow" else 0)
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")
            def log_message(self, *words): pass
        def leave(*_):
            print("told to end", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
    """
    hook = {"preStop": {"exec": {"command": ["sleep", "1"]}}}
    ended: dict[str, Any] = {"terminationGracePeriodSeconds": 20}
    ports = [{"containerPort": 8080}]
    server = objects.pod("web", [sys.executable, "-c", slow], container={"lifecycle": hook, "ports": ports})
    server["spec"].update(ended)
    objects.apply(mesh, server, objects.service("web", port(80, "http", 8080)), objects.idle("client"))
    mesh.ready("web", "client")
    script = "import urllib.request as u; print('begun', flush=True); print(u.urlopen('http://web/slow').status)"
    with mesh.spawn("client", sys.executable, "-c", script) as asking:
        mesh.log_line("web", "asked /slow")
        mesh.delete("Pod", "web")
        assert asking.wait().stdout.split() == ["begun", "200"]
    assert ask(mesh, "client", "http", "web", 80)["status"] == 503
