"""The SPIFFE Workload API of a running mesh, as programs use it that know SPIFFE's own package and nothing of this mesh."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e import objects, processes
from tests.e2e.objects import ROOT_NAMESPACE
from tests.e2e.rotating import exchange_root, exchanged, serials
from tests.e2e.waits import until

from hauberk.identity.jwk_key import decode_public_key
from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace

CLIENT = str(Path(__file__).with_name("workload_client.py"))
PYTHON = os.path.realpath(sys.executable)
HEADER = "workload.spiffe.io=true"
WEB = "spiffe://cluster.local/ns/ids/sa/web"
SETTINGS = {"HAUBERK_JWT_ISSUER": "https://oidc.example.org", "HAUBERK_JWT_LIFETIME": "2m"}


@pytest.fixture(scope="module")
def ids(request: pytest.FixtureRequest) -> Iterator[MeshNamespace]:
    """A mesh with pods of two identities, one of them outside of the mesh's traffic, and a program of the machine beside it."""
    rootless = request.config.getoption("--mesh-rootless") or None
    with running_mesh(f"ids-{os.getpid()}", rootless=rootless, settings=SETTINGS) as mesh:
        namespace = mesh.namespace("ids")
        accounts = (objects.account(name) for name in ("web", "db", "backup"))
        pods = (objects.idle("web", account="web"), objects.idle("twin", account="web"), objects.idle("db", account="db", meshed=False))
        # Not by `exec`: such a command ends with the agent that was asked for it.
        lasting = objects.pod("lasting", ["sh", "-c", f"sleep infinity | {sys.executable} {CLIENT} watch"], account="web")
        objects.apply(namespace, *accounts, *pods, lasting)
        namespace.ready("web", "twin", "db", "lasting")
        yield namespace


def client(mesh: MeshNamespace, pod: str, *arguments: str, stdin: str = "") -> dict[str, Any]:
    done = mesh.exec(pod, sys.executable, CLIENT, *arguments, stdin=stdin.encode()).check()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def codes(mesh: MeshNamespace, pod: str, *calls: str) -> list[str]:
    done = mesh.exec(pod, sys.executable, CLIENT, "raw", *calls).check()
    return [json.loads(line)["code"] for line in done.stdout.splitlines()]


# --- inside pods


def test_a_program_finds_its_identity_without_being_told_anything(ids: MeshNamespace) -> None:
    found = client(ids, "web", "fetch", "api")
    assert (found["spiffeId"], found["subject"], found["judged"]) == (WEB, WEB, WEB)
    assert found["ownKey"] and found["chain"] == 2
    assert found["domains"] == found["x509Domains"] == ["cluster.local"]
    assert len(found["roots"]) == 1 and len(found["keys"]) == 1


def test_each_pod_has_a_key_of_its_own_which_is_not_its_sidecars(ids: MeshNamespace) -> None:
    web, twin = client(ids, "web", "fetch"), client(ids, "twin", "fetch")
    assert web["spiffeId"] == twin["spiffeId"]
    assert web["publicKey"] != twin["publicKey"]
    assert web["serial"] not in serials(ids.mesh).values()


def test_programs_of_one_pod_are_given_the_same_key(ids: MeshNamespace) -> None:
    assert client(ids, "web", "fetch")["serial"] == client(ids, "web", "fetch")["serial"]


def test_a_pod_without_sidecar_has_an_identity_too(ids: MeshNamespace) -> None:
    assert client(ids, "db", "fetch")["spiffeId"] == "spiffe://cluster.local/ns/ids/sa/db"


def test_a_token_is_believed_by_its_audience_in_another_pod_and_by_nobody_else(ids: MeshNamespace) -> None:
    token = client(ids, "web", "fetch", "db")["token"]
    assert client(ids, "db", "validate", "db", stdin=token + "\n") == {"subject": WEB}
    assert "others" in client(ids, "db", "validate", "cache", stdin=token + "\n")["refused"]
    head, claims, signature = token.split(".")
    forged = f"{head}.{claims}.{signature[:-4]}AAAA"
    assert "no key" in client(ids, "db", "validate", "db", stdin=forged + "\n")["refused"]


def test_statuses_are_those_of_the_texts(ids: MeshNamespace) -> None:
    expected = {
        "FetchX509SVID": "INVALID_ARGUMENT",
        "FetchX509Bundles:workload.spiffe.io=false": "INVALID_ARGUMENT",
        "FetchJWTBundles:workload.spiffe.io=True": "INVALID_ARGUMENT",
        "FetchJWTSVID": "INVALID_ARGUMENT",
        "ValidateJWTSVID": "INVALID_ARGUMENT",
        f"FetchX509SVID:{HEADER}": "OK",
        f"FetchX509Bundles:{HEADER}": "OK",
        f"FetchJWTBundles:{HEADER}": "OK",
        f"FetchJWTSVID:{HEADER}": "INVALID_ARGUMENT",  # without an audience
        f"ValidateJWTSVID:{HEADER}": "INVALID_ARGUMENT",
        f"FetchWITSVID:{HEADER}": "UNIMPLEMENTED",
        f"FetchWITBundles:{HEADER}": "UNIMPLEMENTED",
        f"Nonsense:{HEADER}": "UNIMPLEMENTED",
    }
    assert codes(ids, "web", *expected) == list(expected.values())


def test_a_program_sees_its_own_socket_and_can_put_nothing_beside_it(ids: MeshNamespace) -> None:
    assert ids.exec("web", "sh", "-c", "cd /run/spiffe && echo *").check().stdout == "api.sock\n"
    assert ids.exec("web", "sh", "-c", "rm /run/spiffe/api.sock || touch /run/spiffe/x || mv /run/spiffe /run/y").exit_code != 0


def test_sources_of_the_library_follow_a_new_root(ids: MeshNamespace) -> None:
    mesh = ids.mesh
    with ids.spawn("web", sys.executable, CLIENT, "watch") as watching, ids.spawn("db", sys.executable, CLIENT, "sources") as sources:
        first = json.loads(watching.expect("serial"))
        sources.say("api")
        before = json.loads(sources.expect("serial"))
        exchange_root(mesh)
        both = json.loads(watching.expect("serial"))
        assert len(both["roots"]) == 2 and set(first["roots"]) < set(both["roots"])
        until(lambda: exchanged(mesh), "the end of the exchange")
        seen = both
        while len(seen["roots"]) == 2:
            seen = json.loads(watching.expect("serial"))
        assert seen["serial"] != first["serial"] and not set(seen["roots"]) & set(first["roots"])
        sources.say("api")
        after = json.loads(sources.expect("serial"))
        assert after["roots"] == seen["roots"] and after["serial"] != before["serial"]


def test_a_stream_goes_on_after_the_agent_was_killed(ids: MeshNamespace) -> None:
    first = json.loads(ids.log_line("lasting", "serial"))
    processes.kill(ids.mesh, "agent")
    lines: list[str] = []

    def is_told_again() -> bool:
        lines[:] = [line for line in ids.log("lasting").splitlines() if "serial" in line]
        return bool(json.loads(lines[-1])["serial"] != first["serial"])

    until(is_told_again, "another message")
    assert json.loads(lines[-1])["spiffeId"] == first["spiffeId"]


def test_a_pod_that_is_revoked_has_neither_certificate_nor_token_any_more(ids: MeshNamespace) -> None:
    with ids.spawn("twin", sys.executable, CLIENT, "listen") as listening:
        listening.expect("bytes")
        ids.mesh.api("POST", "/v1/ca/revocations", {"pod": "ids/twin", "reason": "a test"})
        assert "PERMISSION_DENIED" in listening.expect("code")
    calls = [f"{method}:{HEADER}" for method in ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles")]
    assert set(codes(ids, "twin", *calls)) == {"PERMISSION_DENIED"}
    assert set(codes(ids, "web", *calls)) == {"OK"}


# --- outside of pods


class Outsider:
    """A program of the machine, in no pod, at a path of its own."""

    def __init__(self, mesh: Mesh, directory: Path) -> None:
        self.mesh = mesh
        self.program = directory / "backup"
        shutil.copy2(PYTHON, self.program)
        # A copy of the interpreter looks for its library where it came from.
        self.environment = {
            **os.environ,
            "PYTHONHOME": sys.base_prefix,
            "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
            "SPIFFE_ENDPOINT_SOCKET": f"unix://{mesh.places.workload_socket}",
        }

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.program.read_bytes()).hexdigest()

    def run(self, *arguments: str, prefix: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
        command = [*prefix, str(self.program), CLIENT, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False, **more)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def code(self, **more: Any) -> str:
        return str(self.run("raw", f"FetchX509SVID:{HEADER}", **more)["code"])


@pytest.fixture
def outsider(ids: MeshNamespace, tmp_path: Path) -> Iterator[Outsider]:
    yield Outsider(ids.mesh, tmp_path)
    declare(ids.mesh)


def declare(mesh: Mesh, *entries: Mapping[str, Any]) -> None:
    """These are the entries, and the agent knows."""
    settings = yaml.safe_dump({"hauberk": {"workloadEntries": list(entries)}})
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {"mesh": settings}}
    mesh.namespace(ROOT_NAMESPACE).apply(json.dumps(document))


def entry(outsider: Outsider, **selectors: Any) -> dict[str, Any]:
    usual = {"uid": os.getuid(), "gid": os.getgid(), "path": str(outsider.program), "sha256": outsider.digest}
    return {"name": "backup", "serviceAccount": "ids/backup", "selectors": usual | selectors}


def test_a_process_of_the_machine_has_the_identity_of_its_entry(ids: MeshNamespace, outsider: Outsider) -> None:
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    found = outsider.run("fetch", "api")
    assert found["spiffeId"] == found["judged"] == "spiffe://cluster.local/ns/ids/sa/backup"
    assert found["identities"] == 1
    ledger = (ids.mesh.places.audit / "records" / "000000000000.jsonl").read_text().splitlines()
    issued = [event for event in map(json.loads, ledger) if event.get("evidence", {}).get("entry") == "backup"]
    assert {event["kind"] for event in issued} == {"certificate-issued", "token-issued"}
    assert all(event["evidence"]["sha256"] == outsider.digest for event in issued)
    assert not any(found["token"] in line for line in ledger)


def test_the_door_of_the_machine_is_served_again_when_its_process_was_killed(ids: MeshNamespace, outsider: Outsider) -> None:
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    os.kill(door_process(ids.mesh), signal.SIGKILL)
    until(lambda: outsider.code() == "OK", "another process at the door")


def door_process(mesh: Mesh) -> int:
    """Of the two that hold the listening socket the one that accepts, which the other one has started."""
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()]
    (inode,) = {row[6] for row in rows if row[-1] == str(mesh.places.workload_socket) and row[5] == "01" and row[3] == "00010000"}
    holding = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and f"socket:[{inode}]" in links(entry / "fd")}
    (found,) = [number for number in holding if parent_of(number) in holding]
    return found


def links(directory: Path) -> set[str]:
    with contextlib.suppress(OSError):
        return {str(each.readlink()) for each in directory.iterdir()}
    return set()


def parent_of(number: int) -> int:
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_process_without_an_entry_has_no_identity(ids: MeshNamespace, outsider: Outsider) -> None:
    declare(ids.mesh)
    until(lambda: outsider.code() == "PERMISSION_DENIED", "the agent to know")
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    for wrong in (
        {"uid": os.getuid() + 1},
        {"gid": os.getgid() + 1},
        {"path": "/usr/bin/true"},
        {"sha256": "00" * 32},
        {"cgroup": "/no.such"},
    ):
        declare(ids.mesh, entry(outsider, **wrong))
        until(lambda: outsider.code() == "PERMISSION_DENIED", f"a refusal for {wrong}")


def test_a_stream_ends_when_its_entry_does(ids: MeshNamespace, outsider: Outsider) -> None:
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    command = [str(outsider.program), CLIENT, "listen"]
    with subprocess.Popen(command, env=outsider.environment, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout and "bytes" in listening.stdout.readline()
        declare(ids.mesh)
        out, _ = listening.communicate(timeout=60)
        assert json.loads(out.splitlines()[-1])["code"] == "PERMISSION_DENIED"


def test_another_program_under_the_same_name_is_not_the_program(ids: MeshNamespace, outsider: Outsider) -> None:
    """A binary that was replaced after its start: what runs is not what the path names any more; what is new has another digest."""
    by_path = entry(outsider)
    del by_path["selectors"]["sha256"]
    declare(ids.mesh, by_path)
    until(lambda: outsider.code() == "OK", "the entry")
    replaced = outsider.program.with_name("new")
    replaced.write_bytes(outsider.program.read_bytes() + b"\0")
    replaced.chmod(0o755)
    # It runs already when it is replaced, and connects only then.
    waits = f"import runpy, sys; sys.stdin.readline(); sys.argv[1:] = ['raw', 'FetchX509SVID:{HEADER}']; "
    asked = [str(outsider.program), "-c", waits + f"runpy.run_path({CLIENT!r}, run_name='__main__')"]
    with subprocess.Popen(asked, env=outsider.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        before = outsider.digest
        replaced.replace(outsider.program)
        out, _ = running.communicate("go\n", timeout=60)
        assert json.loads(out)["code"] == "PERMISSION_DENIED"
    declare(ids.mesh, entry(outsider, sha256=before))
    until(lambda: outsider.code() == "PERMISSION_DENIED", "a refusal of the new program")


def test_a_container_that_reaches_the_socket_of_the_machine_is_nobody(ids: MeshNamespace, outsider: Outsider) -> None:
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    assert (
        outsider.code(prefix=("unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-current-user")))) == "PERMISSION_DENIED"
    )


def test_a_connection_ends_with_the_process_that_made_it(ids: MeshNamespace, outsider: Outsider) -> None:
    """Who inherits it, or is handed it, was not looked at."""
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.send(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])); assert s.recv(1); "
        "child = os.fork(); child and os._exit(0); "
        "n = 0\nwhile s.recv(65536): n += 1\nprint('closed', flush=True)"
    )
    command = [str(outsider.program), "-c", code, str(ids.mesh.places.workload_socket)]
    done = subprocess.run(command, env=outsider.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "closed\n", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_same_program_of_another_user_is_nobody(ids: MeshNamespace, outsider: Outsider) -> None:
    declare(ids.mesh, entry(outsider))
    until(lambda: outsider.code() == "OK", "the entry")
    code = (
        f"import os, runpy, sys, grpc; os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); "
        f"sys.argv[1:] = ['raw', 'FetchX509SVID:{HEADER}']; runpy.run_path({CLIENT!r}, run_name='__main__')"
    )
    with_modules = f"import spiffe; {code}"
    command = [str(outsider.program), "-c", with_modules]
    done = subprocess.run(command, env=outsider.environment, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["code"] == "PERMISSION_DENIED", done.stderr


def test_an_unknown_selector_is_refused_when_it_is_applied(ids: MeshNamespace, outsider: Outsider) -> None:
    with pytest.raises(MeshFailed, match="HBK0103"):
        declare(ids.mesh, entry(outsider, comm="backup"))


def test_the_socket_of_a_pod_is_for_programs_of_that_pod(ids: MeshNamespace, outsider: Outsider) -> None:
    """Whoever reaches the machine's files reaches all sockets; he is still not in the pod."""
    sockets = sorted((ids.mesh.places.run / "ids").glob("*/api.sock"))
    assert len(sockets) == 4
    for path in sockets:
        outsider.environment["SPIFFE_ENDPOINT_SOCKET"] = f"unix://{path}"
        assert outsider.code() != "OK"


# --- for validators that know OpenID Connect


def test_a_token_is_checked_with_the_published_keys(ids: MeshNamespace) -> None:
    import jwt

    token = client(ids, "web", "fetch", "cloud")["token"]
    discovery = ids.mesh.api("GET", "/v1/ca/openid-configuration")
    assert (discovery["issuer"], discovery["jwks_uri"]) == ("https://oidc.example.org", "https://oidc.example.org/keys")
    keys = {key["kid"]: key for key in ids.mesh.api("GET", "/v1/ca/jwks.json")["keys"]}
    key: Any = decode_public_key(keys[jwt.get_unverified_header(token)["kid"]])
    claims = jwt.decode(
        token, key, algorithms=discovery["id_token_signing_alg_values_supported"], audience="cloud", issuer=discovery["issuer"]
    )
    assert claims["sub"] == WEB and claims["exp"] - claims["iat"] == 120


def test_the_outside_finds_them_where_the_settings_say(request: pytest.FixtureRequest) -> None:
    rootless = request.config.getoption("--mesh-rootless") or None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"HAUBERK_JWT_ISSUER": "https://oidc.example.org/mesh", "HAUBERK_OIDC_LISTEN": f"127.0.0.1:{port}"}
    with running_mesh(f"oidc-{os.getpid()}", rootless=rootless, settings=settings) as mesh:
        found = json.loads(fetch(port, "/mesh/.well-known/openid-configuration"))
        assert found["issuer"] == "https://oidc.example.org/mesh"
        assert [key["use"] for key in json.loads(fetch(port, "/mesh/keys"))["keys"]] == ["sig"]
        assert fetch(port, "/") == ""
        # The next key is there long before it signs.
        command = [sys.executable, "-m", "hauberk", "--mesh", mesh.places.mesh, "ca", "rotate", "--tokens"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "25 minutes" in done.stdout
        assert done.stdout.split()[0] in {key["kid"] for key in json.loads(fetch(port, "/mesh/keys"))["keys"]}


def fetch(port: int, path: str) -> str:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read().decode() if response.status == 200 else ""
    finally:
        connection.close()
