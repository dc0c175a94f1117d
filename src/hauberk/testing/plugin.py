"""The pytest plugin: fixtures that give a test a mesh. Installed with Hauberk; nothing starts until a test asks for one.

def test_only_the_frontend_may_write(mesh):
    mesh.run("orders", ["python3", "orders.py"], port="http:8080")
    mesh.run("frontend", ["sleep", "infinity"])
    mesh.apply(POLICY)
    assert mesh.request("frontend", "orders:8080", "POST", "/orders").status == 403
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--mesh-rootless`: meshes of this run use user namespaces although the run is root's."""
    parser.getgroup("hauberk").addoption(
        "--mesh-rootless", action="store_true", default=False, help="run the meshes of the tests in user namespaces, without root"
    )


@pytest.fixture(scope="session")
def shared_mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """One mesh for the whole run; started by the first test that needs it."""
    with running_mesh(f"test-{os.getpid()}", rootless=request.config.getoption("--mesh-rootless") or None) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[MeshNamespace]:
    """A namespace of the shared mesh for this test alone; its pods and objects are gone afterwards."""
    namespace = shared_mesh.namespace(_namespace_name(request.node.nodeid))
    try:
        yield namespace
    finally:
        namespace.clear()


@pytest.fixture
def own_mesh(request: pytest.FixtureRequest) -> Iterator[Callable[..., Mesh]]:
    """Starts meshes that belong to this test alone: `own_mesh(settings={"HAUBERK_CERTIFICATE_LIFETIME": "5s"})`."""
    rootless = request.config.getoption("--mesh-rootless") or None
    with ExitStack() as stack:
        started = 0

        def start(**options: object) -> Mesh:
            nonlocal started
            started += 1
            block: AbstractContextManager[Mesh] = running_mesh(f"own-{os.getpid()}-{started}", **{"rootless": rootless, **options})  # type: ignore[arg-type]  # passed through
            return stack.enter_context(block)

        yield start


def _namespace_name(node: str) -> str:
    """A name that reads like the test's and is no other test's."""
    words = re.sub(r"[^a-z0-9]+", "-", node.rpartition("::")[2].lower()).strip("-")
    return f"{words[:40].strip('-')}-{hashlib.sha256(node.encode()).hexdigest()[:6]}"
