"""`hauberk ca show`, `rotate`, `issue` and `describe certificate`, as their user types them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.e2e.waits import until

from hauberk.testing.mesh import running_mesh
from hauberk.testing.namespace import MeshNamespace

NAME = "ca-commands"
HAUBERK = (sys.executable, "-m", "hauberk", "--mesh", NAME)
# A program outside the mesh: mutual TLS by hand, with what `ca issue` gave it.
OUTSIDER = """
import json, os, socket, ssl, sys, tempfile
given = json.load(sys.stdin)
with tempfile.TemporaryDirectory() as directory:
    for name in ("tls.key", "tls.crt"):
        with open(os.path.join(directory, name), "w") as file:
            file.write(given[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # names are SPIFFE IDs
    context.load_verify_locations(cadata=given["ca.crt"])
    context.load_cert_chain(os.path.join(directory, "tls.crt"), os.path.join(directory, "tls.key"))
try:
    with context.wrap_socket(socket.create_connection((given["host"], 8080), timeout=10)) as tls:
        tls.sendall(b"GET / HTTP/1.1\\r\\nHost: web\\r\\nConnection: close\\r\\n\\r\\n")
        print(tls.recv(100).decode().split("\\r\\n")[0] or "closed")
except OSError as error:
    print("refused", error)
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[MeshNamespace]:
    """A mesh of its own, because its root is exchanged: a server, and a pod without a sidecar."""
    with running_mesh(NAME) as own:
        namespace = own.namespace("default")
        namespace.run("web", [sys.executable, "-m", "http.server", "8080"], port="http:8080", wait=False)
        namespace.run("outsider", ["sleep", "infinity"], inject=False, wait=False)
        namespace.ready("web", "outsider")
        yield namespace


def hauberk(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HAUBERK, *arguments], text=True, capture_output=True, timeout=120, check=False)


def done(*arguments: str) -> str:
    ran = hauberk(*arguments)
    assert ran.returncode == 0, f"{arguments}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def document(*arguments: str) -> Any:
    return json.loads(done(*arguments, "-o", "json"))


def signing(kind: str = "issuing") -> str:
    (active,) = [each["id"] for each in document("ca", "show")["authorities"] if (each["kind"], each["slot"]) == (kind, "active")]
    return str(active)


@pytest.mark.usefixtures("mesh")
def test_everything_that_signs_is_shown_with_what_depends_on_it() -> None:
    shown = document("ca", "show")
    assert {each["kind"] for each in shown["authorities"]} == {"root", "issuing"}
    assert all(each["living"] >= 1 and each["keyHere"] and each["lastExpiry"] for each in shown["authorities"])
    assert (shown["trustDomain"], shown["problems"]) == ("cluster.local", [])
    until(lambda: all(each["confirmed"] for each in document("ca", "show")["agents"]), "every agent to confirm")
    for text in ("root-", "issuing-", "active", "confirmed"):
        assert text in done("ca", "show")


@pytest.mark.usefixtures("mesh")
def test_a_new_issuing_key_signs_and_the_former_stays_until_its_last_certificate_ends() -> None:
    before = signing()
    assert document("ca", "rotate")["authority"] == signing() != before
    assert {each["id"]: each["slot"] for each in document("ca", "show")["authorities"]}[before] == "old"


def test_an_exchange_of_the_root_is_followed_step_by_step_and_ends_with_other_certificates(mesh: MeshNamespace) -> None:
    root, serial = signing("root"), certificate_of(mesh)["serial"]
    ran = hauberk("ca", "rotate", "--root")
    assert ran.returncode == 0, ran.stderr
    assert [name for name in ("distribute", "switch", "retire", "done") if f"✓ {name}" in ran.stderr] == [
        "distribute",
        "switch",
        "retire",
        "done",
    ]
    assert f"{root} is gone" in ran.stdout
    assert signing("root") != root
    assert certificate_of(mesh)["serial"] != serial
    told = done("describe", "certificate", "web")
    for text in ("spiffe://cluster.local/ns/default/sa/web", "Attested by:", signing("root"), signing(), "Renewed:", "When it ends:"):
        assert text in told
    assert "done" in done("ca", "rotate", "--status", "-o", "json")


@pytest.mark.usefixtures("mesh")
def test_what_cannot_be_rotated_now_is_said_and_changes_nothing() -> None:
    before = signing("root")
    ran = hauberk("ca", "rotate", "--root", "--abort")
    assert (ran.returncode, "no exchange of the root is going on" in ran.stderr) == (1, True)
    assert hauberk("ca", "rotate", "--abort").returncode == 2
    assert signing("root") == before


def test_a_program_outside_gets_an_identity_that_is_believed_until_it_is_revoked(mesh: MeshNamespace, tmp_path: Path) -> None:
    out = tmp_path / "identity"
    issued = document("ca", "issue", "--service-account", "default/web", "--out", str(out), "--lifetime", "10m")
    assert issued["spiffeId"] == "spiffe://cluster.local/ns/default/sa/web"
    assert stat.S_IMODE((out / "tls.key").stat().st_mode) == 0o600
    leaf = x509.load_pem_x509_certificate((out / "tls.crt").read_bytes())
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() <= 11 * 60
    assert call(mesh, out).startswith("HTTP/1.1 200")
    assert "outside" in done("describe", "certificate", issued["serial"])
    done("ca", "revoke", issued["serial"], "--reason", "a test")
    until(lambda: not call(mesh, out).startswith("HTTP/1.1 200"), "the revoked certificate to be refused")
    assert "a test" in done("describe", "certificate", issued["serial"])


@pytest.mark.usefixtures("mesh")
def test_what_is_revoked_by_the_name_of_its_deployment_is_believed_again_by_that_name() -> None:
    done("ca", "revoke", "web")
    done("ca", "revoke", "web", "--undo")
    assert "pod" not in {each["what"] for each in document("ca", "revoke", "--list")["items"]}


@pytest.mark.usefixtures("mesh")
def test_nothing_is_overwritten_and_nothing_issued_for_who_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "tls.key").write_text("mine")
    ran = hauberk("ca", "issue", "--service-account", "default/web", "--out", str(tmp_path))
    assert (ran.returncode, "tls.key" in ran.stderr, (tmp_path / "tls.key").read_text()) == (1, True, "mine")
    ran = hauberk("ca", "issue", "--service-account", "default/nobody", "--out", str(tmp_path / "new"))
    assert (ran.returncode, "nobody" in ran.stderr, (tmp_path / "new").exists()) == (1, True, False)
    assert hauberk("ca", "issue", "--service-account", "web", "--out", str(tmp_path / "new")).returncode == 2
    assert hauberk("ca", "issue", "--service-account", "default/web", "--out", str(tmp_path / "new"), "--lifetime", "0s").returncode == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("mesh")
def test_a_hundred_years_become_the_longest_life_there_is(tmp_path: Path) -> None:
    done("ca", "issue", "--service-account", "default/web", "--out", str(tmp_path / "new"), "--lifetime", "36500d")
    leaf = x509.load_pem_x509_certificate((tmp_path / "new" / "tls.crt").read_bytes())
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 7


@pytest.mark.usefixtures("mesh")
def test_a_certificate_that_nobody_has_is_not_described() -> None:
    assert hauberk("describe", "certificate", "nothing").returncode == 1
    assert hauberk("describe", "certificate", "ab" * 16).returncode == 1


def certificate_of(mesh: MeshNamespace) -> Any:
    return mesh.mesh.api("GET", f"/v1/ca/certificates?pod=default/{mesh.pod('web')}")


def call(mesh: MeshNamespace, identity: Path) -> str:
    """How the server's sidecar answers the program outside."""
    given = {name: (identity / name).read_text() for name in ("tls.key", "tls.crt", "ca.crt")}
    given["host"] = mesh.get("pods", mesh.pod("web"))["status"]["podIP"]
    return mesh.exec("outsider", sys.executable, "-c", OUTSIDER, stdin=json.dumps(given).encode()).check().stdout
