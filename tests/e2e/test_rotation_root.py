"""Issuing keys and roots change under load, and nobody notices; whatever is killed meanwhile, it goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.e2e import processes
from tests.e2e.load_mixed import MixedLoad, arrange, mixed_load
from tests.e2e.rotating import all_well, exchange_root, exchanged, killed_again, roots, serials, stage
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace


@pytest.fixture(scope="module")
def lasting_mesh(request: pytest.FixtureRequest) -> Iterator[MeshNamespace]:
    """Two servers in a mesh whose certificates live for a day, so that only an order renews them."""
    rootless = request.config.getoption("--mesh-rootless") or None
    with running_mesh(f"roots-{os.getpid()}", rootless=rootless) as mesh:
        namespace = mesh.namespace("roots")
        arrange(namespace)
        namespace.run("idle", ["sleep", "infinity"])
        yield namespace


@pytest.fixture(scope="module")
def whole_load(lasting_mesh: MeshNamespace) -> Iterator[MixedLoad]:
    """One load for all tests: some connections last through all of them."""
    with mixed_load(lasting_mesh) as load:
        yield load


@pytest.fixture
def load(whole_load: MixedLoad) -> Iterator[None]:
    """The load was not harmed, and goes on after the test."""
    yield
    whole_load.goes_on()
    whole_load.assert_unharmed()


def assert_all_anew(mesh: Mesh, before: dict[str, str], old: list[str], new: str) -> None:
    """The new root is the only one, every pod has another certificate, and nothing complains."""
    until(lambda: all_well(mesh), "every pod well")
    assert new not in old
    assert roots(mesh) == [new]
    after = serials(mesh)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())


@pytest.mark.usefixtures("load")
def test_the_exchange_of_the_root_costs_no_request(lasting_mesh: MeshNamespace) -> None:
    mesh = lasting_mesh.mesh
    before, old = serials(mesh), roots(mesh)
    new = exchange_root(mesh)
    until(lambda: exchanged(mesh), "the end of the exchange")
    assert_all_anew(mesh, before, old, new)


@pytest.mark.usefixtures("load")
def test_a_control_plane_that_is_killed_in_the_middle_goes_on_where_it_was(lasting_mesh: MeshNamespace) -> None:
    mesh = lasting_mesh.mesh
    before, old = serials(mesh), roots(mesh)
    new = exchange_root(mesh)
    killed_again(mesh, "control-plane")
    until(lambda: stage(mesh) != "distribute", "everybody's trust in the new root")
    killed_again(mesh, "control-plane")
    until(lambda: exchanged(mesh), "the end of the exchange")
    assert_all_anew(mesh, before, old, new)


@pytest.mark.usefixtures("load")
def test_an_agent_that_is_killed_in_the_middle_proves_anew(lasting_mesh: MeshNamespace) -> None:
    mesh = lasting_mesh.mesh
    before, old = serials(mesh), roots(mesh)
    new = exchange_root(mesh)
    killed_again(mesh, "agent")
    until(lambda: stage(mesh) != "distribute", "everybody's trust in the new root")
    killed_again(mesh, "agent")
    until(lambda: exchanged(mesh), "the end of the exchange")
    assert_all_anew(mesh, before, old, new)


@pytest.mark.usefixtures("load")
def test_an_exchange_that_is_aborted_leaves_the_old_root_alone(lasting_mesh: MeshNamespace) -> None:
    mesh = lasting_mesh.mesh
    old = roots(mesh)
    exchange_root(mesh)
    mesh.api("POST", "/v1/ca/rotate", {"abort": True})
    until(lambda: exchanged(mesh), "the end of the way back")
    until(lambda: all_well(mesh), "every pod well")
    assert roots(mesh) == old


@pytest.mark.usefixtures("load")
def test_a_proxy_that_cannot_confirm_is_named_and_waited_for(lasting_mesh: MeshNamespace) -> None:
    mesh = lasting_mesh.mesh
    before, old = serials(mesh), roots(mesh)
    pod = lasting_mesh.pod("idle")
    envoy = processes.find_envoy(lasting_mesh, pod)
    os.kill(envoy, signal.SIGSTOP)
    try:
        new = exchange_root(mesh)
        until(lambda: stragglers(mesh) == [f"pod roots/{pod}"], "its name, and no other")
        assert stage(mesh) == "distribute"
    finally:
        os.kill(envoy, signal.SIGCONT)
    until(lambda: exchanged(mesh), "the end of the exchange")
    assert_all_anew(mesh, before, old, new)


def stragglers(mesh: Mesh) -> list[str]:
    """Whose proof is missing, without the rest of what is said of them."""
    return [each.partition(" on node ")[0] for each in mesh.api("GET", "/v1/ca/rotation")["waitingFor"]]
