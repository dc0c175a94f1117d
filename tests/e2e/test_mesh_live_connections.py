"""Connections of bytes that policy allowed and allows no longer: they end within ten seconds, and no other does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.e2e import holding, objects, processes
from tests.e2e.callers import ask
from tests.e2e.objects import authorization_policy, peer_authentication, port, rule
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace
from hauberk.testing.running import Running

NAMESPACE = "dock"
SECONDS = 10.0  # in which what policy allows no longer must have ended
MANY = 100
ALICE, BOB = (f"cluster.local/ns/{NAMESPACE}/sa/{name}" for name in ("alice", "bob"))


@pytest.fixture(scope="module")
def quay(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server of bytes on two ports of a service and on one of none, callers with sidecars and one without."""
    mesh = shared_mesh.namespace(NAMESPACE)
    objects.apply(
        mesh,
        peer_authentication("PERMISSIVE"),
        *(objects.account(name) for name in ("alice", "bob")),
        objects.pod("db", server_command("tcp@[::]:9000", "tcp@[::]:9002", "tcp@[::]:9003")),
        objects.service("db", port(9000, "tcp"), port(9002, "any")),
        objects.pod("hall", server_command("http@[::]:8080")),
        objects.service("hall", port(8080, "http")),
        *(objects.idle(name, account=name) for name in ("alice", "bob")),
        objects.idle("outside", meshed=False),
    )
    mesh.ready("db", "hall", "alice", "bob", "outside")
    # That it is ready is told to its callers a moment later.
    until(lambda: all(_is_known(mesh, caller, number) for caller in ("alice", "bob") for number in (9000, 9002)), "the callers to know it")
    yield mesh
    mesh.clear()


def _is_known(mesh: MeshNamespace, caller: str, number: int) -> bool:
    return bool(ask(mesh, caller, "tcp", "db", number, timeout=5).get("said") == ["HELLO"])


@pytest.fixture
def dock(quay: MeshNamespace) -> Iterator[MeshNamespace]:
    """Without policies, and with plain connections allowed; what a test applied is taken back."""
    yield quay
    listed = quay.mesh.api("GET", f"/v1/objects/authorizationpolicies?namespace={quay.name}")["items"]
    if names := [each["metadata"]["name"] for each in listed]:
        quay.delete("AuthorizationPolicy", *names)
    objects.apply(quay, peer_authentication("PERMISSIVE"))


@contextmanager
def holding_connections(mesh: MeshNamespace, caller: str, *addresses: str, number: int = 1) -> Iterator[Running]:
    """A program in `caller` that holds so many connections to each of `addresses`."""
    with mesh.spawn(caller, sys.executable, str(Path(holding.__file__).resolve()), str(number), *addresses) as program:
        assert program.expect("held", timeout=30).strip() == "held"
        yield program


def good(program: Running) -> dict[str, int]:
    """How many of the connections are good for something, by the port that they lead to."""
    program.say("count")
    found: dict[str, int] = json.loads(program.expect("count ", timeout=30).partition(" ")[2])
    by_port: dict[str, int] = {}
    for address, number in found.items():
        by_port[address.rpartition(":")[2]] = by_port.get(address.rpartition(":")[2], 0) + number
    return by_port


def expect(program: Running, expected: dict[str, int]) -> None:
    """In time exactly these are left, and they stay."""
    until(lambda: good(program) == expected, f"{expected} to be left", SECONDS)


def addresses(mesh: MeshNamespace, pod: str, number: int) -> list[str]:
    """The pod's own addresses, with that port."""
    found = [each["ip"] for each in mesh.get("pods", pod)["status"]["podIPs"]]
    return [f"[{each}]:{number}" if ":" in each else f"{each}:{number}" for each in found]


def test_of_hundreds_of_connections_those_end_that_are_denied_and_no_others(dock: MeshNamespace) -> None:
    with ExitStack() as stack:
        alice = stack.enter_context(holding_connections(dock, "alice", "db:9000", "db:9002", number=MANY))
        bob = stack.enter_context(holding_connections(dock, "bob", "db:9000", "db:9002", number=MANY))
        objects.apply(
            dock, authorization_policy("not-alice", "DENY", rule(source={"principals": [ALICE]}, to={"ports": ["9000"]}), app="db")
        )
        expect(alice, {"9000": 0, "9002": MANY})
        assert good(bob) == {"9000": MANY, "9002": MANY}
        # A policy that concerns nobody who is connected ends nothing.
        objects.apply(dock, authorization_policy("known", "ALLOW", rule(source={"principals": [ALICE, BOB]}), app="db"))
        objects.apply(dock, authorization_policy("bob", "ALLOW", rule(source={"principals": [BOB]}), app="db"))
        dock.delete("AuthorizationPolicy", "known")
        expect(alice, {"9000": 0, "9002": 0})
        assert good(bob) == {"9000": MANY, "9002": MANY}


def test_who_came_without_identity_is_nobody_whatever_pod_it_is_and_in_both_families(dock: MeshNamespace) -> None:
    plain = [address for number in (9000, 9003) for address in addresses(dock, "db", number)]
    families = len(plain) // 2
    with ExitStack() as stack:
        outside = stack.enter_context(holding_connections(dock, "outside", *plain, number=5))
        # No service has the port: the caller's sidecar speaks plainly, although its pod has an identity.
        alice = stack.enter_context(holding_connections(dock, "alice", *addresses(dock, "db", 9003), "db:9000", number=5))
        objects.apply(dock, authorization_policy("known", "ALLOW", rule(source={"principals": ["*"]}), app="db"))
        expect(outside, {"9000": 0, "9003": 0})
        expect(alice, {"9000": 5, "9003": 0})
    assert families >= 1


def test_networks_are_asked_of_open_connections_too(dock: MeshNamespace) -> None:
    alice = dock.get("pods", "alice")["status"]["podIP"]
    with ExitStack() as stack:
        callers = {name: stack.enter_context(holding_connections(dock, name, "db:9000")) for name in ("alice", "bob")}
        objects.apply(dock, authorization_policy("place", "DENY", rule(source={"ipBlocks": [alice]}), app="db"))
        expect(callers["alice"], {"9000": 0})
        assert good(callers["bob"]) == {"9000": 1}


def test_plain_connections_end_when_only_mutual_tls_is_taken_and_no_others(dock: MeshNamespace) -> None:
    (plain, *_) = addresses(dock, "db", 9000)
    with ExitStack() as stack:
        outside = stack.enter_context(holding_connections(dock, "outside", plain, number=20))
        alice = stack.enter_context(holding_connections(dock, "alice", "db:9000", "db:9002", number=20))
        objects.apply(dock, peer_authentication("STRICT"))
        expect(outside, {"9000": 0})
        assert good(alice) == {"9000": 20, "9002": 20}


def test_websockets_end_that_are_denied_and_neither_others_nor_requests_of_the_same_callers(dock: MeshNamespace) -> None:
    chat, news = "hall:8080/chat", "hall:8080/news"
    with ExitStack() as stack:
        alice = stack.enter_context(holding_connections(dock, "alice", chat, news, number=5))
        bob = stack.enter_context(holding_connections(dock, "bob", chat, number=5))
        team = {"when": [{"key": "request.headers[x-team]", "values": ["red"]}]}
        objects.apply(dock, authorization_policy("team", "DENY", rule(source={"principals": [BOB]}) | team, app="hall"))
        objects.apply(
            dock, authorization_policy("not-alice", "DENY", rule(source={"principals": [ALICE]}, to={"paths": ["/chat"]}), app="hall")
        )
        expect(alice, {"8080/chat": 0, "8080/news": 5})
        # Nobody has kept the headers with which they began.
        assert good(bob) == {"8080/chat": 5}
        assert ask(dock, "alice", "http", "hall", 8080, path="/other")["status"] == 200
        objects.apply(dock, authorization_policy("bob", "ALLOW", rule(source={"principals": [BOB]}), app="hall"))
        expect(alice, {"8080/chat": 0, "8080/news": 0})
        assert good(bob) == {"8080/chat": 5}


def test_plain_websockets_end_when_only_mutual_tls_is_taken_and_no_others(dock: MeshNamespace) -> None:
    plain = [f"{address}/chat" for address in addresses(dock, "hall", 8080)]
    with ExitStack() as stack:
        outside = stack.enter_context(holding_connections(dock, "outside", *plain, number=3))
        alice = stack.enter_context(holding_connections(dock, "alice", "hall:8080/chat", number=3))
        objects.apply(dock, peer_authentication("STRICT"))
        expect(outside, {"8080/chat": 0})
        assert good(alice) == {"8080/chat": 3}


def test_an_agent_that_was_killed_ends_them_when_it_is_back(dock: MeshNamespace) -> None:
    # What a test runs in a pod ends with the agent, what is the pod's own does not.
    keepers = {f"keeper-{name}": name for name in ("alice", "bob")}
    command = [sys.executable, str(Path(holding.__file__).resolve()), "watching", "10", "db:9000"]
    objects.apply(dock, *(objects.pod(name, command, account=account) for name, account in keepers.items()))
    dock.ready(*keepers)
    for name in keepers:
        until(lambda name=name: "held\n" in dock.log(name), f"{name} to hold its connections")  # type: ignore[misc]  # a default binds the variable
    objects.apply(dock, authorization_policy("not-alice", "DENY", rule(source={"principals": [ALICE]}), app="db"))
    processes.kill(dock.mesh, "agent")
    until(lambda: dock.log("keeper-alice").count("ended") == 10, "the denied connections to end", 30.0)
    assert dock.log("keeper-bob").count("ended") == 0
    dock.delete("Pod", *keepers)


def test_a_control_plane_that_is_away_is_waited_for(dock: MeshNamespace) -> None:
    with ExitStack() as stack:
        callers = {name: stack.enter_context(holding_connections(dock, name, "db:9000", number=10)) for name in ("alice", "bob")}
        objects.apply(dock, authorization_policy("not-alice", "DENY", rule(source={"principals": [ALICE]}), app="db"))
        processes.kill(dock.mesh, "control-plane")
        until(lambda: good(callers["alice"]) == {"9000": 0}, "the denied connections to end", 30.0)
        assert good(callers["bob"]) == {"9000": 10}
