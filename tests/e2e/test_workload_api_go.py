"""The Workload API, as programs use it that are written with go-spiffe and know nothing of this mesh."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import objects
from tests.e2e.rotating import exchange_root, exchanged
from tests.e2e.waits import until

from hauberk.testing.mesh import running_mesh
from hauberk.testing.namespace import MeshNamespace

SOURCE = Path(__file__).with_name("gospiffe")
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
WEB = "spiffe://cluster.local/ns/go/sa/web"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built; skipped where there is no Go, or nowhere to have go-spiffe from."""
    if GO is None:
        pytest.skip("Go is not installed")
    built = tmp_path_factory.mktemp("go") / "gospiffe"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run([GO, "build", "-o", str(built), "."], cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 and ("dial tcp" in done.stderr or "no required module" in done.stderr or "lookup" in done.stderr):
        pytest.skip(f"go-spiffe cannot be fetched: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def pods(program: Path, request: pytest.FixtureRequest) -> Iterator[MeshNamespace]:
    """A pod in a mesh whose certificates live for seconds."""
    assert program.is_file()
    rootless = request.config.getoption("--mesh-rootless") or None
    with running_mesh(f"go-{os.getpid()}", rootless=rootless, settings={"HAUBERK_CERTIFICATE_LIFETIME": "6s"}) as mesh:
        namespace = mesh.namespace("go")
        objects.apply(namespace, objects.account("web"), objects.idle("web", account="web"))
        namespace.ready("web")
        yield namespace


def test_sources_of_go_spiffe_follow_rotations_and_a_new_root(pods: MeshNamespace, program: Path) -> None:
    with pods.spawn("web", str(program)) as running:
        serials: list[str] = []

        def ask() -> dict[str, object]:
            running.say("api")
            found: dict[str, object] = json.loads(running.expect("serial"))
            assert (found["spiffeId"], found["checked"], found["told"]) == (WEB, WEB, WEB)
            if found["serial"] not in serials:
                serials.append(str(found["serial"]))
            return found

        first = ask()
        until(lambda: bool(ask()) and len(serials) >= 3, "two rotations")
        exchange_root(pods.mesh)
        until(lambda: exchanged(pods.mesh), "the end of the exchange")
        until(lambda: len(list(str(ask()["roots"]).split(","))) == 1 and ask()["roots"] != first["roots"], "the new root alone")
