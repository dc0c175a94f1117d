"""Bad input and bad machines: each is told with what, why and what to do, and what worked goes on working."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import processes

from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE
from hauberk.testing.mesh import Mesh, running_mesh

HAUBERK = (sys.executable, "-m", "hauberk")
ASK = 'import urllib.request as u; print(u.urlopen("http://web:8080/").status)'
# Says nothing: a program whose own output fails may fail with it.
QUIET = """
from http.server import BaseHTTPRequestHandler as H, HTTPServer
H.do_GET = lambda self: (self.send_response_only(200), self.send_header("content-length", "0"), self.end_headers())
HTTPServer(("", 8080), H).serve_forever()
"""
HEAD = "apiVersion: v1\nkind: %s\nmetadata: {name: %s}\n"
SERVICE = HEAD % ("Service", "bad") + "spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n"


def hauberk(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end."""
    environment = {**os.environ, **settings}
    return subprocess.run([*HAUBERK, *arguments], env=environment, text=True, capture_output=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A mesh with `web` and `client`, which nothing here may harm; commands find it without being told."""
    with running_mesh("default") as running:
        namespace = running.namespace("default")
        namespace.run("web", [sys.executable, "-c", QUIET], port=8080, wait=False)
        namespace.run("client", ["sleep", "infinity"], wait=False)
        namespace.ready("web", "client")
        yield running


@pytest.fixture(autouse=True)
def _goes_on(mesh: Mesh) -> Iterator[None]:
    """What worked before a test works after it."""
    yield
    namespace = mesh.namespace("default")
    assert namespace.exec("client", sys.executable, "-c", ASK).check().stdout == "200\n"
    assert namespace.get("services", "web")["spec"]["ports"][0]["port"] == 8080


@pytest.fixture
def elsewhere() -> Iterator[dict[str, str]]:
    """The places of a mesh that does not run."""
    directory = Path(tempfile.mkdtemp(prefix="hb-"))
    settings = {STATE_VARIABLE: str(directory / "s"), RUN_VARIABLE: str(directory / "r")}
    try:
        yield settings
    finally:
        hauberk("down", **settings)
        shutil.rmtree(directory, ignore_errors=True)


DECLARED = ("namespaces", "services", "configmaps", "serviceaccounts", "deployments")


def bomb() -> str:
    """Nine lines that stand for a billion values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [\n", ["bad.yaml:2:1", "HBK0001"]),
        ((HEAD % ("Frob", "a")).encode(), ["bad.yaml:2:7: unknown kind 'Frob'", "HBK0101"]),
        (SERVICE.replace("selector:", "selektor:").encode(), ["bad.yaml:4:8: unknown field 'selektor'", "did you mean selector?"]),
        (SERVICE.replace("port: 80,", "port: 70000,").encode(), ["bad.yaml:4:45: 70000 is out of range", "spec.ports[0].port"]),
        ((SERVICE + "---\n" + SERVICE).encode(), ["bad.yaml:6:1", "declared already in", "bad.yaml:1"]),
        (SERVICE.replace("name: bad", "name: bad, namespace: nowhere").encode(), ["bad.yaml:3:34", "there is no namespace nowhere"]),
        (SERVICE.replace("name: bad", 'name: "a\\e[2J\\nb"').encode(), ["HBK0108", r"a\x1b[2J\nb"]),
        (SERVICE.replace("name: bad", f"name: bad, labels: {{a: {'x' * 100_000}}}").encode(), ["HBK0111"]),
        (f"{HEAD % ('ConfigMap', 'bad')}data: {{a: {'x' * 6_000_000}}}".encode(), ["HBK0002", "at most 5,242,880"]),
        (bomb().encode(), ["HBK0004", "aliases"]),
        (b"a: " + b"[" * 100_000, ["HBK0003", "64 levels"]),
        (b'{"a":' * 100_000, ["HBK0003", "64 levels"]),
        (bytes(range(1, 256)) * 10, ["this is not text", "UTF-8"]),
        (SERVICE.replace("bad", "b\0d").encode(), ["HBK0001", "control characters"]),
        (SERVICE.replace("bad", "bäd").encode("latin-1"), ["bad.yaml:3:19: this is not text", "0xe4"]),
        (SERVICE.encode("utf-16"), ["this is not text"]),
        (b"", ["nothing to apply"]),
        (b"# only a comment\n---\n", ["nothing to apply"]),
    ],
    ids=lambda each: each[-1] if isinstance(each, list) else "",
)
def test_a_bad_file_is_told_with_its_place_and_changes_nothing(mesh: Mesh, tmp_path: Path, content: bytes, said: list[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    before = declared(mesh)
    ran = hauberk("apply", "-f", str(file))
    assert ran.returncode == 1
    assert all(each in ran.stderr for each in [*said, "error: ", "   do: "]), ran.stderr
    assert len(ran.stderr) < 3000
    assert ran.stderr.replace("\n", "").isprintable()
    assert declared(mesh) == before


def declared(mesh: Mesh) -> set[tuple[str, str, str, int]]:
    """What users have declared; not the mesh's revision, which moves whenever a pod's status does."""
    listed = [item for plural in DECLARED for item in mesh.api("GET", f"/v1/objects/{plural}")["items"]]
    identities = [(item["kind"], item["metadata"]) for item in listed]
    return {(kind, data.get("namespace", ""), data["name"], data.get("generation", 0)) for kind, data in identities}


def test_a_document_of_a_hundred_megabytes_and_one_without_end_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "big.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    for name in (str(tmp_path / "big.yaml"), "/dev/zero"):
        ran = hauberk("apply", "-f", name)
        assert (ran.returncode, "is too large" in ran.stderr) == (1, True), ran.stderr


def test_files_that_are_not_there_are_wrong_usage(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "nothing to read"), (tmp_path / "absent.yaml", "No such file")):
        ran = hauberk("apply", "-f", str(path))
        assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr


def test_a_service_in_two_files_names_the_other_file(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(SERVICE)
    ran = hauberk("apply", "-f", str(tmp_path))
    assert ran.returncode == 1
    assert f"{tmp_path}/b.yaml:1:1: Service/default/bad is declared already in {tmp_path}/a.yaml:1" in ran.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SERVICE.replace("app: web", "app: nobody"), [":4:8", "HBK0601", "app=nobody"]),
        (SERVICE.replace("8080", "81"), [":4:61", "HBK0602", "declared are port-8080 (8080)"]),
    ],
)
def test_what_has_no_effect_yet_is_a_warning_with_its_place(tmp_path: Path, text: str, said: list[str]) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    ran = hauberk("apply", "-f", str(tmp_path / "odd.yaml"), "--dry-run")
    assert ran.returncode == 0
    assert all(each in ran.stderr for each in [*said, "warning: "]), ran.stderr


def test_a_thousand_objects_go_in_one_apply(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text("---\n".join(HEAD % ("ConfigMap", f"many-{number}") for number in range(1000)))
    ran = hauberk("apply", "-f", str(tmp_path / "many.yaml"), "--wait")
    assert (ran.returncode, ran.stdout.count(" created\n")) == (0, 1000), ran.stderr
    assert hauberk("delete", "-f", str(tmp_path / "many.yaml")).returncode == 0


@pytest.mark.parametrize("part", ["control-plane", "agent"])
def test_a_part_that_is_killed_in_the_middle_of_an_apply_leaves_all_of_it_or_nothing(mesh: Mesh, tmp_path: Path, part: str) -> None:
    (tmp_path / "many.yaml").write_text("---\n".join(HEAD % ("ConfigMap", f"half-{number}") for number in range(500)))
    outcome: list[subprocess.CompletedProcess[str]] = []
    applying = threading.Thread(target=lambda: outcome.append(hauberk("apply", "-f", str(tmp_path / "many.yaml"), "--wait")))
    applying.start()
    processes.kill(mesh, part)
    applying.join()
    (ran,) = outcome
    assert hauberk("up", "--detach", "--wait").returncode == 0
    found = mesh.api("GET", "/v1/objects/configmaps?namespace=default")["items"]
    assert len(found) in ((500,) if ran.returncode == 0 else (0, 500)), ran.stderr
    assert ran.returncode in (0, 3), ran.stderr
    assert hauberk("delete", "-f", str(tmp_path / "many.yaml"), "--ignore-not-found").returncode == 0


def test_a_mesh_that_does_not_run_is_exit_code_3(elsewhere: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SERVICE)
    for arguments in (["apply", "-f", str(tmp_path / "good.yaml")], ["get", "pods"], ["exec", "web", "--", "true"], ["down"]):
        ran = hauberk(*arguments, **elsewhere)
        assert (ran.returncode, "is not running" in ran.stderr, "hauberk up" in ran.stderr) == (3, True, True), ran.stderr


def test_up_twice_finds_the_mesh_that_runs(mesh: Mesh) -> None:
    init = processes.find(mesh, "init")
    ran = hauberk("up", "--detach", "--wait")
    assert (ran.returncode, "already running" in ran.stderr) == (0, True)
    assert processes.find(mesh, "init") == init


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = hauberk("port-forward", "web", f"{taken.getsockname()[1]}:8080")
    assert (ran.returncode, "cannot listen" in ran.stderr, "do: take another local port" in ran.stderr) == (1, True, True)


def test_a_state_directory_that_cannot_be_made_is_told(elsewhere: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = hauberk("up", "--detach", **{**elsewhere, STATE_VARIABLE: str(tmp_path / "file")})
    assert (ran.returncode, "set HAUBERK_STATE_DIR" in ran.stderr) == (1, True), ran.stderr


@pytest.mark.parametrize(("layout", "said"), [("99", "newer version"), ("0", "older version")])
def test_a_state_directory_of_another_version_is_not_touched(elsewhere: dict[str, str], layout: str, said: str) -> None:
    state = Path(elsewhere[STATE_VARIABLE]) / "default"
    state.mkdir(parents=True, mode=0o700)
    (state / "version").write_text(layout)
    ran = hauberk("up", "--detach", "--wait", **elsewhere)
    assert (ran.returncode, said in ran.stderr, "down --purge" in ran.stderr) == (1, True, True), ran.stderr
    assert (state / "version").read_text() == layout


def test_an_envoy_that_cannot_run_is_told_before_anything_starts(elsewhere: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "envoy").touch(mode=0o644)
    for path, said in ((tmp_path / "absent", "there is no Envoy at"), (tmp_path / "envoy", "is not executable")):
        ran = hauberk("up", "--detach", "--wait", HAUBERK_ENVOY=str(path), **elsewhere)
        assert (ran.returncode, said in ran.stderr, "HAUBERK_ENVOY" in ran.stderr) == (1, True, True), ran.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare of util-linux gives the limits of their own")
def test_namespaces_that_are_not_permitted_are_told_with_the_setting(elsewhere: dict[str, str]) -> None:
    refused = f"echo 0 > /proc/sys/user/max_user_namespaces; exec {sys.executable} -m hauberk up --rootless --detach --wait"
    ran = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", refused], env={**os.environ, **elsewhere}, text=True, capture_output=True, timeout=60, check=False
    )
    assert (ran.returncode, "sysctl -w user.max_user_namespaces" in ran.stderr) == (1, True), ran.stderr


@pytest.mark.parametrize(
    ("file", "content", "mode", "said"),
    [
        ("objects.db", b"no database" * 1000, 0o600, ["the store cannot be read", "down --purge"]),
        ("ca/root.pem", b"no key", 0o600, ["root.pem", "is damaged"]),
        ("ca/issuing.pem", b"no key", 0o644, ["issuing.pem", "chmod 600"]),
    ],
)
def test_state_that_cannot_be_used_is_named_with_its_remedy(
    elsewhere: dict[str, str], file: str, content: bytes, mode: int, said: list[str]
) -> None:
    state = Path(elsewhere[STATE_VARIABLE]) / "default"
    (state / "ca").mkdir(parents=True, mode=0o700)
    (state / "version").write_text("1")
    (state / file).write_bytes(content)
    (state / file).chmod(mode)
    ran = hauberk("up", "--detach", "--wait", **elsewhere)
    assert (ran.returncode, "the control plane keeps ending" in ran.stderr) == (1, True), ran.stderr
    assert all(each in ran.stderr for each in said), ran.stderr


FULL = """
mount --make-rprivate / && mkdir -p $HAUBERK_STATE_DIR && mount -t tmpfs -o size=4m tmpfs $HAUBERK_STATE_DIR
trap 'hauberk down' EXIT
hauberk up --detach --wait -q && hauberk apply -f $GOOD || exit 50
dd if=/dev/zero of=$HAUBERK_STATE_DIR/fill bs=4k 2>&-
hauberk apply -f $MORE && exit 51
hauberk get svc -o name | grep -q more && exit 52
hauberk status > /dev/null || exit 53
rm $HAUBERK_STATE_DIR/fill
hauberk apply -f $MORE --wait && hauberk get svc -o name | grep more || exit 54
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a small disk is mounted, in a mount namespace of its own")
def test_a_full_disk_refuses_changes_until_there_is_room_again(elsewhere: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SERVICE)
    services = [SERVICE.replace("bad", f"more-{number}") for number in range(200)]
    (tmp_path / "more.yaml").write_text("---\n".join(services))
    command = f'hauberk() {{ {sys.executable} -m hauberk "$@"; }}\n{FULL}'
    settings = {**os.environ, **elsewhere, "GOOD": str(tmp_path / "good.yaml"), "MORE": str(tmp_path / "more.yaml")}
    ran = subprocess.run(["unshare", "-m", "sh", "-c", command], env=settings, text=True, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "the disk is full" in ran.stderr
    assert "free some space" in ran.stderr


def test_what_a_program_outside_can_write_is_shown_and_not_obeyed(mesh: Mesh) -> None:
    namespace = mesh.namespace("default")
    namespace.request("client", "web:8080", path="/%1b[2J", headers={"user-agent": "a\tb"})
    namespace.records(at_least=2)
    for form in ("table", "wide"):
        shown = hauberk("access", "-o", form)
        assert shown.returncode == 0
        assert shown.stdout.replace("\n", "").isprintable()
    assert json.loads(hauberk("access", "-o", "json").stdout)
