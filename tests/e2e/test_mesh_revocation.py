"""Who is revoked is believed by nobody: open connections of every kind end, new ones are refused, and nobody else notices."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.e2e import lasting, objects, outsider, processes
from tests.e2e.load import constant_load
from tests.e2e.objects import port
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.cli import main
from hauberk.identity.csr import build_csr
from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace
from hauberk.testing.running import Running

NAMESPACE = "keep"
PATH = "/v1/ca/revocations"
PORTS = {"http": 8080, "grpc": 8081, "tcp": 8082}
ALICE = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/alice"
LIVES = dict.fromkeys(PORTS, True)
REFUSED = dict.fromkeys(PORTS, False)
SECONDS = 10.0  # in which what is open must have ended


@pytest.fixture(scope="module")
def keep(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """Two servers, callers, and a load of whom nobody revokes anything, which must not lose a single request."""
    mesh = shared_mesh.namespace(NAMESPACE)
    servers = [f"{kind}@[::]:{number}" for kind, number in PORTS.items()]
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("web", "store", "alice", "bob", "partner")),
        *(objects.pod(name, server_command(*servers), account=name) for name in ("web", "store")),
        *(objects.service(name, *(port(number, kind) for kind, number in PORTS.items())) for name in ("web", "store")),
        *(objects.idle(name, account=name) for name in ("alice", "bob")),
        objects.idle("outside", meshed=False),
    )
    mesh.ready("web", "store", "alice", "bob", "outside")
    try:
        with constant_load(mesh, "web:8080", rate=100) as load:
            yield mesh
        assert (load.failed, load.failures) == (0, [])
        assert load.total > 0
    finally:
        mesh.clear()


@contextmanager
def calling(mesh: MeshNamespace, caller: str, host: str = "web") -> Iterator[Running]:
    """A program in `caller` that holds connections to `host`, all of which live."""
    command = (sys.executable, str(Path(lasting.__file__).resolve()), host, *map(str, PORTS.values()))
    with mesh.spawn(caller, *command) as program:
        program.expect("listening")
        assert use(program, "fresh") == LIVES
        yield program


def use(program: Running, how: str) -> dict[str, bool]:
    """Which kinds of connections were good for something."""
    program.say(how)
    found: dict[str, bool] = json.loads(program.expect(f"{how} ").partition(" ")[2])
    return found


def expect_lost(program: Running) -> None:
    """What was open has ended; what is made anew may live already."""
    ended = {program.expect("ended", timeout=SECONDS).split()[1] for _ in range(2)}
    assert ended == {"grpc", "tcp"}


def expect_ended(program: Running) -> None:
    """The stream and the connection of bytes end by themselves, in time; on what was kept open no request is answered."""
    expect_lost(program)
    assert use(program, "keep") == REFUSED


def revoke(mesh: MeshNamespace, **target: str) -> dict[str, Any]:
    found: dict[str, Any] = mesh.mesh.api("POST", PATH, {**target, "reason": "a test"})
    return found


def undo(mesh: MeshNamespace, **target: str) -> None:
    mesh.mesh.api("DELETE", PATH, target)


def serial_of(mesh: MeshNamespace, pod: str) -> str:
    """The serial of the pod's newest certificate, by the ledger."""
    lines = map(json.loads, (mesh.mesh.places.audit / "records" / "000000000000.jsonl").read_text().splitlines())
    issued = [line["evidence"] for line in lines if line["kind"] == "certificate-issued"]
    return str([each["serial"] for each in issued if each["holder"].startswith(f"pod {mesh.name}/{pod} ")][-1])


def test_a_revoked_pod_loses_every_connection_and_has_them_again_when_that_is_undone(keep: MeshNamespace) -> None:
    with calling(keep, "alice") as alice, calling(keep, "bob") as bob:
        done = revoke(keep, pod=f"{NAMESPACE}/alice")
        expect_ended(alice)
        assert use(alice, "fresh") == REFUSED
        assert use(bob, "keep") == LIVES
        assert [each["serial"] for each in done["certificates"]] == [serial_of(keep, "alice")]
        undo(keep, pod=f"{NAMESPACE}/alice")
        until(lambda: use(alice, "fresh") == LIVES, "the end of the revocation")
        assert use(bob, "keep") == LIVES


def test_a_pod_whose_certificate_is_revoked_gets_another_at_once(keep: MeshNamespace) -> None:
    with calling(keep, "alice") as alice, calling(keep, "bob") as bob:
        before = serial_of(keep, "alice")
        revoke(keep, serial=before)
        expect_lost(alice)
        until(lambda: use(alice, "fresh") == LIVES, "another certificate")
        assert serial_of(keep, "alice") != before
        assert use(bob, "keep") == LIVES
    undo(keep, serial=before)


def test_a_revoked_identity_is_believed_of_nobody(keep: MeshNamespace) -> None:
    with calling(keep, "alice") as alice, calling(keep, "bob") as bob:
        revoke(keep, identity=ALICE)
        expect_ended(alice)
        assert use(alice, "fresh") == REFUSED
        undo(keep, identity=ALICE)
        until(lambda: use(alice, "fresh") == LIVES, "the end of the revocation")
        assert use(bob, "keep") == LIVES


def test_a_revoked_server_is_called_by_nobody(keep: MeshNamespace) -> None:
    with calling(keep, "alice", "store") as alice:
        revoke(keep, pod=f"{NAMESPACE}/store")
        expect_lost(alice)
        # No filter stands before whoever is called: what carries requests to him is ended like all else, one after the other.
        until(lambda: use(alice, "keep") == REFUSED, "the end of the last connection", SECONDS)
        assert use(alice, "fresh") == REFUSED
        undo(keep, pod=f"{NAMESPACE}/store")
        until(lambda: use(alice, "fresh") == LIVES, "the end of the revocation")


@contextmanager
def calling_from_outside(mesh: MeshNamespace) -> Iterator[tuple[Running, str]]:
    """A program without a sidecar, connected to `web` with a certificate that was issued to it; and that certificate's serial."""
    key = ec.generate_private_key(ec.SECP256R1())
    asked = {"namespace": mesh.name, "serviceAccount": "partner", "csr": build_csr(key)}
    issued = mesh.mesh.api("POST", "/v1/ca/certificates", asked)
    identity = {
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "chain": "".join(issued["certificateChain"]),
    }
    address = mesh.get("pods", "web")["status"]["podIP"]
    with mesh.spawn("outside", sys.executable, str(Path(outsider.__file__).resolve()), address, str(PORTS["http"])) as program:
        program.say(json.dumps(identity))
        program.expect("listening")
        yield program, issued["serial"]


def ask(program: Running, how: str) -> dict[str, Any]:
    program.say(how)
    found: dict[str, Any] = json.loads(program.expect(f"{how} ").partition(" ")[2])
    return found


def test_a_certificate_held_outside_is_good_for_nothing_any_more_and_no_session_revives_it(keep: MeshNamespace) -> None:
    with calling_from_outside(keep) as (revoked, serial), calling_from_outside(keep) as (other, _), calling(keep, "bob") as bob:
        for program in (revoked, other):
            assert ask(program, "fresh") == {"status": 200, "reused": False, "version": "TLSv1.3"}
        revoke(keep, serial=serial)
        until(lambda: ask(revoked, "keep").get("status") != 200, "the end of what is open", SECONDS)
        for _ in range(3):
            assert ask(revoked, "fresh").get("status") != 200
        # Whoever else is outside may have to come again, and is let in.
        until(lambda: ask(other, "fresh").get("status") == 200, "an answer to somebody else")
        assert use(bob, "keep") == LIVES
    undo(keep, serial=serial)


def issuing(mesh: MeshNamespace) -> str:
    """The authority that signs leaves now."""
    return str(
        next(each["id"] for each in mesh.mesh.api("GET", "/v1/ca")["authorities"] if (each["kind"], each["slot"]) == ("issuing", "active"))
    )


def test_while_there_are_lists_a_new_issuing_key_signs_only_what_everybody_believes(keep: MeshNamespace) -> None:
    with calling(keep, "alice") as alice, calling(keep, "bob") as bob:
        revoke(keep, serial="f" * 32)
        before = issuing(keep)
        keep.mesh.api("POST", "/v1/ca/rotate", {})
        until(lambda: issuing(keep) != before, "the new issuing key")
        # The one who gets a certificate of it, and whoever is called with it.
        renewed = serial_of(keep, "alice")
        revoke(keep, serial=renewed)
        expect_lost(alice)
        until(lambda: use(alice, "fresh") == LIVES, "a certificate of the new key")
        for _ in range(5):
            assert use(alice, "fresh") == LIVES
        assert use(bob, "keep") == LIVES
    for each in ("f" * 32, renewed):
        undo(keep, serial=each)


def answers(mesh: MeshNamespace, caller: str) -> int:
    """The status of a request of its own."""
    return mesh.request(caller, "web:8080").status


def test_a_revocation_outlives_the_control_plane_and_the_agent(keep: MeshNamespace) -> None:
    revoke(keep, pod=f"{NAMESPACE}/alice")
    until(lambda: answers(keep, "alice") != 200, "the revocation")
    processes.kill(keep.mesh, "control-plane")
    until(lambda: bool(keep.mesh.api("GET", PATH)["items"]), "the new control plane")
    assert answers(keep, "alice") != 200
    processes.kill(keep.mesh, "agent")
    until(lambda: answers(keep, "bob") == 200, "the new agent")
    for _ in range(5):
        assert answers(keep, "alice") != 200
    with pytest.raises(MeshFailed, match="is not revoked"):
        undo(keep, pod=f"{NAMESPACE}/bob")
    undo(keep, pod=f"{NAMESPACE}/alice")
    until(lambda: answers(keep, "alice") == 200, "the end of the revocation")


def test_the_command_revokes_lists_and_undoes(keep: MeshNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        assert main.main(["ca", "revoke", *words, "--mesh", keep.mesh.places.mesh]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    assert f"pod {NAMESPACE}/alice is revoked" in run("alice", "-n", NAMESPACE, "--reason", "a test")
    assert f"{NAMESPACE}/alice" in run("--list")
    assert "not revoked any more" in run("alice", "-n", NAMESPACE, "--undo")
    until(lambda: answers(keep, "alice") == 200, "the end of the revocation")
