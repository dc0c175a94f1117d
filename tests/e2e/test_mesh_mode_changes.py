"""Changes of the mode of mutual TLS under load: nobody who may call is refused, and no plain byte passes where only mutual TLS is taken."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from tests.e2e import asking, objects
from tests.e2e.objects import peer_authentication, port
from tests.e2e.programs import server_command

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace
from hauberk.testing.running import Running

HTTP, TCP, OTHER = 8080, 9000, 9001
WAYS = {"http-kept", "http", "tcp", "other"}
MODES = ("STRICT", "PERMISSIVE", "DISABLE")
LOAD_SECONDS = 1.0  # of load after each change

Found = dict[str, tuple[int, list[str]]]


@pytest.fixture(scope="module")
def gate(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server of requests and of bytes, a caller in the mesh and one outside of it."""
    mesh = shared_mesh.namespace("gate")
    objects.apply(
        mesh,
        peer_authentication("STRICT"),
        objects.pod("web", server_command(f"http@[::]:{HTTP}", f"tcp@[::]:{TCP}", f"tcp@[::]:{OTHER}")),
        objects.service("web", port(HTTP, "http"), port(TCP, "tcp"), port(OTHER, "other")),
        objects.idle("client"),
        objects.idle("outside", meshed=False),
    )
    mesh.ready("web", "client", "outside")
    yield mesh
    mesh.clear()


@contextmanager
def calling(mesh: MeshNamespace, caller: str, host: str) -> Iterator[Running]:
    """A program in `caller` that asks `host` in every way all the time."""
    with mesh.spawn(caller, sys.executable, str(Path(asking.__file__).resolve()), host, str(HTTP), str(TCP), str(OTHER)) as program:
        program.expect("asking")
        yield program


def look(program: Running) -> Found:
    """What came of its questions since the last look."""
    program.say("look")
    return {way: (number, failed) for way, (number, failed) in json.loads(program.expect("found ").partition(" ")[2]).items()}


def test_no_change_of_mode_refuses_who_may_call_or_lets_plain_bytes_pass_strict(gate: MeshNamespace) -> None:
    address = gate.get("pods", "web")["status"]["podIP"]
    # Every change from one mode to another, in one walk: STRICT first.
    walk = ["STRICT", "PERMISSIVE", "STRICT", "DISABLE", "PERMISSIVE", "DISABLE", "STRICT"]
    assert set(pairwise(walk)) == set(permutations(MODES, 2))
    with calling(gate, "client", "web") as client, calling(gate, "outside", address) as outside:
        look(client)
        for mode in walk[1:]:
            objects.apply(gate, peer_authentication(mode))
            look(outside)  # what it was answered while the mode changed
            time.sleep(LOAD_SECONDS)
            plain, mutual = look(outside), look(client)
            assert {way: failed for way, (_, failed) in mutual.items()} == {way: [] for way in WAYS}, mode
            assert min(number for number, _ in mutual.values()) > 0
            if mode == "STRICT":
                # One question of each way may have been on its way already.
                assert max(number for number, _ in plain.values()) <= 1
                time.sleep(LOAD_SECONDS / 4)
                plain = look(outside)
            passed = {way for way, (number, _) in plain.items() if number}
            assert passed == (set() if mode == "STRICT" else WAYS), (mode, plain)


def test_a_mode_that_is_only_said_elsewhere_opens_nothing(gate: MeshNamespace) -> None:
    address = gate.get("pods", "web")["status"]["podIP"]
    with calling(gate, "client", "web") as client, calling(gate, "outside", address) as outside:
        look(outside)
        objects.apply(gate, peer_authentication("STRICT", app="web", name="web"))
        objects.apply(gate, peer_authentication("PERMISSIVE"))
        objects.apply(gate, peer_authentication("STRICT", app="web", name="web", ports={TCP: "STRICT"}))
        objects.apply(gate, peer_authentication("STRICT"))
        gate.delete("PeerAuthentication", "web")
        assert {number for number, _ in look(outside).values()} == {0}
        assert [failed for _, failed in look(client).values() if failed] == []
