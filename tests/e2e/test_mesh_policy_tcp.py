"""AuthorizationPolicy on connections: a denied caller is cut off, and the program never sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.objects import authorization_policy, peer_authentication, port, rule
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

NAMESPACE = "harbour"
ALICE = f"cluster.local/ns/{NAMESPACE}/sa/alice"
# Declared as TCP, declared and spoken to the client first, and one whose protocol is found out.
PORTS = {9000: "tcp", 9001: "greet", 9002: "tcp"}
UNNAMED = 9003  # no service has it: it is reached by the pod's address only, and that means without mutual TLS


@pytest.fixture(scope="module")
def quay(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server of bytes and two callers."""
    mesh = shared_mesh.namespace(NAMESPACE)
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("alice", "bob")),
        objects.pod("db", server_command(*(f"{kind}@[::]:{number}" for number, kind in PORTS.items()), f"tcp@[::]:{UNNAMED}")),
        objects.service("db", port(9000, "tcp"), port(9001, "tcp-mail"), port(9002, "port")),
        *(objects.idle(name, account=name) for name in ("alice", "bob")),
        objects.idle("outside", meshed=False),
    )
    mesh.ready("db", "alice", "bob", "outside")
    # That it is ready is told to its callers a moment later.
    until(lambda: all(served(mesh, caller, number) for caller in ("alice", "bob") for number in PORTS), "the callers to know the server")
    yield mesh
    mesh.clear()


@pytest.fixture
def pier(quay: MeshNamespace) -> Iterator[MeshNamespace]:
    """Without policies: what a test applied is taken back."""
    yield quay
    for plural, kind in (("authorizationpolicies", "AuthorizationPolicy"), ("peerauthentications", "PeerAuthentication")):
        listed = quay.mesh.api("GET", f"/v1/objects/{plural}?namespace={quay.name}")["items"]
        if names := [each["metadata"]["name"] for each in listed]:
            quay.delete(kind, *names)


def served(mesh: MeshNamespace, caller: str, number: int) -> bool:
    """Whether the program's answer reaches `caller`."""
    host = mesh.get("pods", "db")["status"]["podIP"] if caller == "outside" else "db"
    return bool(ask(mesh, caller, PORTS.get(number, "tcp"), host, number, timeout=5).get("said") == ["HELLO"])


def admitted(mesh: MeshNamespace, caller: str, *numbers: int) -> list[int]:
    """The ports on which `caller` is served; on the others the program saw no connection."""
    before = mesh.log("db").splitlines()
    found = [number for number in numbers or PORTS if served(mesh, caller, number)]
    seen = mesh.log("db").splitlines()[len(before) :]
    assert sorted({int(line.split()[1]) for line in seen}) == found
    return found


def test_without_policies_every_port_is_served(pier: MeshNamespace) -> None:
    assert admitted(pier, "alice") == [*PORTS]


def test_a_permission_lets_in_nobody_else(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("alice", "ALLOW", rule(source={"principals": [ALICE]}), app="db"))
    assert [admitted(pier, caller) for caller in ("alice", "bob")] == [[*PORTS], []]


def test_a_denial_cuts_off_who_is_denied(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("not-alice", "DENY", rule(source={"principals": [ALICE]}), app="db"))
    assert [admitted(pier, caller) for caller in ("alice", "bob")] == [[], [*PORTS]]


def test_a_rule_may_be_about_ports(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("ports", "DENY", rule(source={"principals": [ALICE]}, to={"ports": ["9000"]}), app="db"))
    assert admitted(pier, "alice") == [9001, 9002]


def test_a_permission_that_is_about_requests_permits_no_connection(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("http", "ALLOW", rule(to={"methods": ["GET"]}), app="db"))
    assert admitted(pier, "alice") == []


def test_a_denial_that_is_about_requests_denies_every_connection_to_its_ports(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("http", "DENY", rule(to={"methods": ["GET"], "ports": ["9000"]}), app="db"))
    assert admitted(pier, "alice") == [9001, 9002]


def test_a_caller_without_identity_has_no_principal(pier: MeshNamespace) -> None:
    objects.apply(pier, peer_authentication("PERMISSIVE"))
    assert admitted(pier, "outside", *PORTS, UNNAMED) == [*PORTS, UNNAMED]
    objects.apply(pier, authorization_policy("known", "ALLOW", rule(source={"principals": ["*"]}), app="db"))
    assert [admitted(pier, caller, *PORTS) for caller in ("alice", "outside")] == [[*PORTS], []]
    assert admitted(pier, "outside", UNNAMED) == []


def test_a_rule_about_a_port_holds_on_a_port_that_no_service_names(pier: MeshNamespace) -> None:
    objects.apply(pier, peer_authentication("PERMISSIVE"), authorization_policy("none", "DENY", rule(to={"ports": [str(UNNAMED)]})))
    assert admitted(pier, "outside", 9000, UNNAMED) == [9000]


def test_a_denied_connection_is_recorded_with_its_policy_on_the_side_that_denied(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("recorded", "DENY", rule(source={"principals": [ALICE]}), app="db"))
    assert not served(pier, "alice", 9000)
    (record,) = pier.records(at_least=1, to="db", denied=True, where=lambda each: each["decision"]["policy"] == f"{NAMESPACE}/recorded")
    assert record["reporter"] == "destination"
    assert record["decision"] == {
        "verdict": "deny",
        "policy": f"{NAMESPACE}/recorded",
        "rule": "0",
        "reason": None,
        "dryRun": None,
        "audit": [],
    }
    assert record["source"]["identity"] == f"spiffe://{ALICE}"
    assert (record["protocol"], record["destination"]["port"]) == ("TCP", 9000)


def test_removing_the_policy_lets_everybody_in_again(pier: MeshNamespace) -> None:
    objects.apply(pier, authorization_policy("none", "ALLOW", app="db"))
    assert admitted(pier, "alice") == []
    pier.delete("AuthorizationPolicy", "none")
    assert admitted(pier, "alice") == [*PORTS]


def test_of_many_rules_the_last_is_heeded_too(pier: MeshNamespace) -> None:
    others = [rule(source={"principals": [f"cluster.local/ns/{NAMESPACE}/sa/nobody-{number}"]}) for number in range(100)]
    objects.apply(pier, authorization_policy("many", "ALLOW", *others, rule(source={"principals": [ALICE]}), app="db"))
    assert [admitted(pier, caller, 9000) for caller in ("alice", "bob")] == [[9000], []]


def test_a_policy_of_many_long_names_is_no_larger_than_a_sidecar_takes(pier: MeshNamespace) -> None:
    here = {"ports": ["9000"]}
    names = [f"cluster.local/ns/{NAMESPACE}/sa/{number:0>63}" for number in range(512)]
    rules = [rule(source={"principals": [name]}, to=here) for name in names]
    objects.apply(pier, authorization_policy("alice", "ALLOW", *rules[1:], rule(source={"principals": [ALICE]}, to=here), app="db"))
    assert [admitted(pier, caller, 9000) for caller in ("alice", "bob")] == [[9000], []]


@pytest.mark.parametrize(
    "asked",
    [
        {"source": {"notPrincipals": [ALICE]}},
        {"source": {"serviceAccounts": ["bob"]}},
        {"source": {"ipBlocks": ["BOB/32"]}},
        {"source": {"notRemoteIpBlocks": ["ALICE"]}},
        {"source": {"namespaces": ["elsewhere"]}},
        {"to": {"ports": ["9002"]}},
    ],
    ids=str,
)
def test_who_is_not_meant_gets_no_byte_of_a_server_whatever_is_asked(pier: MeshNamespace, asked: dict[str, dict[str, list[str]]]) -> None:
    addresses = {name: pier.get("pods", name.lower())["status"]["podIP"] for name in ("ALICE", "BOB")}
    text = json.dumps(asked)
    for name, address in addresses.items():
        text = text.replace(name, address)
    objects.apply(pier, authorization_policy("asked", "ALLOW", rule(**json.loads(text)), app="db"))
    assert admitted(pier, "alice", 9001) == []
