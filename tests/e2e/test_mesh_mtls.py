"""Who may speak plaintext: PeerAuthentication for the mesh, a namespace, a workload and a port, and changes of it under load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.load import constant_load
from tests.e2e.objects import ROOT_NAMESPACE, peer_authentication, port
from tests.e2e.programs import server_command

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

HTTP, TCP, SNIFFED = 8080, 9000, 8081


@pytest.fixture(scope="module")
def walled(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server in the mesh, a caller in it and a program outside of it."""
    mesh = shared_mesh.namespace("walled")
    objects.apply(
        mesh,
        objects.pod("web", server_command(f"http@[::]:{HTTP}", f"tcp@[::]:{TCP}", f"http@[::]:{SNIFFED}")),
        objects.service("web", port(HTTP, "http"), port(TCP, "tcp"), port(SNIFFED, "port")),
        objects.idle("client"),
        objects.idle("outside", meshed=False),
        objects.pod("plain", server_command(f"http@[::]:{HTTP}", f"tcp@[::]:{TCP}"), meshed=False),
        objects.service("plain", port(HTTP, "http"), port(TCP, "tcp")),
    )
    mesh.ready("web", "client", "outside", "plain")
    yield mesh
    mesh.clear()


@pytest.fixture
def wall(walled: MeshNamespace) -> Iterator[MeshNamespace]:
    """Without modes of its own: what a test set is taken back."""
    yield walled
    for each in walled.mesh.api("GET", f"/v1/objects/peerauthentications?namespace={walled.name}")["items"]:
        walled.delete("PeerAuthentication", each["metadata"]["name"])


def passes(mesh: MeshNamespace, source: str, number: int, host: str = "web") -> bool:
    """Whether a program in `source` gets an answer from `host`.

    A pod without a sidecar knows addresses of pods only, because the addresses of services are the sidecars' work.
    """
    host = mesh.get("pods", host)["status"]["podIP"] if source == "outside" else host
    kind = "tcp" if number == TCP else "http"
    answer = ask(mesh, source, kind, host, number, timeout=5)
    return bool(answer.get("status") == 200 or answer.get("said") == ["HELLO"])


def let_in(mesh: MeshNamespace) -> list[int]:
    """The ports that take plaintext. Callers of the mesh are served on all of them, whatever the mode."""
    assert [number for number in (HTTP, TCP, SNIFFED) if not passes(mesh, "client", number)] == []
    return [number for number in (HTTP, TCP, SNIFFED) if passes(mesh, "outside", number)]


def test_a_fresh_mesh_refuses_plaintext_and_the_program_sees_nothing_of_it(wall: MeshNamespace) -> None:
    before = wall.log("web")
    assert [number for number in (HTTP, TCP, SNIFFED) if passes(wall, "outside", number)] == []
    assert wall.log("web") == before


@pytest.mark.parametrize("mode", ["PERMISSIVE", "DISABLE"])
def test_a_namespace_may_take_plaintext(wall: MeshNamespace, mode: str) -> None:
    objects.apply(wall, peer_authentication(mode))
    assert let_in(wall) == [HTTP, TCP, SNIFFED]


def test_the_mode_of_a_workload_is_above_that_of_its_namespace(wall: MeshNamespace) -> None:
    objects.apply(wall, peer_authentication("STRICT"), peer_authentication("PERMISSIVE", app="web", name="web"))
    assert let_in(wall) == [HTTP, TCP, SNIFFED]
    objects.apply(wall, peer_authentication("PERMISSIVE"), peer_authentication("STRICT", app="web", name="web"))
    assert let_in(wall) == []


def test_the_mode_of_a_port_is_above_that_of_its_workload(wall: MeshNamespace) -> None:
    modes = {HTTP: "STRICT", TCP: "DISABLE"}
    objects.apply(wall, peer_authentication("PERMISSIVE", app="web", name="web", ports=modes))
    assert let_in(wall) == [TCP, SNIFFED]


def test_a_mode_that_is_not_set_is_taken_from_above(wall: MeshNamespace) -> None:
    objects.apply(wall, peer_authentication("PERMISSIVE"), peer_authentication("UNSET", app="web", name="web", ports={TCP: "STRICT"}))
    assert let_in(wall) == [HTTP, SNIFFED]


def test_the_mode_of_the_mesh_is_an_object_that_can_be_changed(wall: MeshNamespace) -> None:
    objects.apply(wall, peer_authentication("PERMISSIVE", namespace=ROOT_NAMESPACE))
    try:
        assert let_in(wall) == [HTTP, TCP, SNIFFED]
    finally:
        objects.apply(wall, peer_authentication("STRICT", namespace=ROOT_NAMESPACE))
    assert let_in(wall) == []


def test_a_pod_of_the_mesh_reaches_programs_that_have_no_sidecar(wall: MeshNamespace) -> None:
    assert passes(wall, "client", HTTP, "plain")
    assert passes(wall, "client", TCP, "plain")


def test_two_programs_without_sidecars_reach_each_other(wall: MeshNamespace) -> None:
    assert passes(wall, "outside", HTTP, "plain")


def test_changes_of_the_mode_cost_no_request_of_a_permitted_caller(wall: MeshNamespace) -> None:
    # Between STRICT and DISABLE by way of PERMISSIVE, as operators do it: callers and called hear of a mode one after the other, and in
    # neither of the two do they understand each other while only one has heard of the other.
    with constant_load(wall, f"web:{HTTP}") as load:
        for mode in ("PERMISSIVE", "DISABLE", "PERMISSIVE", "STRICT", "PERMISSIVE", "DISABLE", "PERMISSIVE", "STRICT"):
            objects.apply(wall, peer_authentication(mode))
            objects.apply(wall, peer_authentication(mode, app="web", name="web", ports={HTTP: mode}))
    assert load.total > 50
    assert load.failed == 0, load.failures
    wall.delete("Deployment", "load")
