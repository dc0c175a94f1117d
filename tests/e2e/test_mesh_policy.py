"""AuthorizationPolicy on requests: who, what, where, and which policy prevails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.load import constant_load
from tests.e2e.objects import ROOT_NAMESPACE, Document, authorization_policy, port, rule
from tests.e2e.programs import server_command

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

GUARDED = "guarded"  # the namespace
ALICE, BOB = (f"cluster.local/ns/{GUARDED}/sa/{name}" for name in ("alice", "bob"))


@pytest.fixture(scope="module")
def house(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server with two HTTP ports, and callers with identities of their own: alice and bob here, carol in another namespace."""
    mesh, other = shared_mesh.namespace(GUARDED), shared_mesh.namespace("elsewhere")
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("alice", "bob", "web")),
        objects.pod("web", server_command("http@[::]:8080", "http@[::]:8081"), account="web"),
        objects.service("web", port(8080, "http"), port(8081, "port")),
        objects.pod("tv", server_command("http@[::]:8080"), account="web"),
        objects.service("tv", port(8080, "http")),
        *(objects.idle(name, account=name) for name in ("alice", "bob")),
    )
    objects.apply(other, objects.account("carol"), objects.idle("carol", account="carol"))
    mesh.ready("web", "tv", "alice", "bob")
    other.ready("carol")
    yield mesh
    mesh.clear()
    other.clear()


@pytest.fixture
def door(house: MeshNamespace) -> Iterator[MeshNamespace]:
    """Without policies: what a test applied is taken back."""
    yield house
    for namespace in (house, house.mesh.namespace(ROOT_NAMESPACE)):
        listed = house.mesh.api("GET", f"/v1/objects/authorizationpolicies?namespace={namespace.name}")["items"]
        if names := [each["metadata"]["name"] for each in listed]:
            namespace.delete("AuthorizationPolicy", *names)


def status(
    mesh: MeshNamespace, caller: str, method: str = "GET", path: str = "/", *, number: int = 8080, host: str = "", to: str = "web"
) -> int:
    """The status of the answer that `caller` gets."""
    namespace = mesh if caller != "carol" else mesh.mesh.namespace("elsewhere")
    headers = {"host": host} if host else {}
    address = f"{to}.{GUARDED}"
    answer = ask(namespace, caller, "http", address, number, method=method, path=path, headers=headers)
    assert "status" in answer, answer
    return int(answer["status"])


def callers(mesh: MeshNamespace, *names: str) -> list[str]:
    """Those who are let in."""
    return [name for name in names or ("alice", "bob", "carol") if status(mesh, name) == 200]


WHO: list[tuple[Document, list[str]]] = [
    ({"principals": [ALICE]}, ["alice"]),
    ({"principals": ["*/sa/bob"]}, ["bob"]),
    ({"principals": [f"cluster.local/ns/{GUARDED}/*"]}, ["alice", "bob"]),
    ({"principals": ["*"]}, ["alice", "bob", "carol"]),
    ({"notPrincipals": [ALICE]}, ["bob", "carol"]),
    ({"namespaces": ["elsewhere"]}, ["carol"]),
    ({"namespaces": ["else*"]}, ["carol"]),
    ({"notNamespaces": ["elsewhere"]}, ["alice", "bob"]),
    ({"serviceAccounts": ["alice", "elsewhere/carol"]}, ["alice", "carol"]),
    ({"notServiceAccounts": ["alice"]}, ["bob", "carol"]),
    ({"namespaces": [GUARDED], "notPrincipals": [BOB]}, ["alice"]),
]


@pytest.mark.parametrize(("source", "admitted"), WHO, ids=[str(source) for source, _ in WHO])
def test_a_caller_is_known_by_its_certificate(door: MeshNamespace, source: Document, admitted: list[str]) -> None:
    objects.apply(door, authorization_policy("who", "ALLOW", rule(source=source), app="web"))
    assert callers(door) == admitted
    objects.apply(door, authorization_policy("who", "DENY", rule(source=source), app="web"))
    assert callers(door) == [name for name in ("alice", "bob", "carol") if name not in admitted]


WHAT: list[tuple[Document, tuple[str, str], tuple[str, str]]] = [
    ({"methods": ["GET", "HEAD"]}, ("GET", "/"), ("POST", "/")),
    ({"notMethods": ["DELETE"]}, ("PUT", "/"), ("DELETE", "/")),
    ({"paths": ["/info"]}, ("GET", "/info"), ("GET", "/info/")),
    ({"paths": ["/info"]}, ("GET", "/info?x=1"), ("GET", "/INFO")),
    ({"paths": ["/api/*"]}, ("GET", "/api/x/y"), ("GET", "/api")),
    ({"paths": ["*/health"]}, ("GET", "/a/health"), ("GET", "/health/a")),
    ({"notPaths": ["/secret*"]}, ("GET", "/open"), ("GET", "/secret/1")),
    ({"paths": ["/a"], "methods": ["GET"]}, ("GET", "/a"), ("POST", "/a")),
    # A path is decided about in the form in which the program gets it.
    ({"notPaths": ["/secret*"]}, ("GET", "/x/secret"), ("GET", "/x/../secret")),
]


@pytest.mark.parametrize(("operation", "admitted", "refused"), WHAT, ids=[f"{what}{yes}{no}" for what, yes, no in WHAT])
def test_a_request_is_known_by_its_method_and_path(
    door: MeshNamespace, operation: Document, admitted: tuple[str, str], refused: tuple[str, str]
) -> None:
    objects.apply(door, authorization_policy("what", "ALLOW", rule(to=operation), app="web"))
    assert [status(door, "alice", *admitted), status(door, "alice", *refused)] == [200, 403]


def test_a_request_is_known_by_its_host_and_port(door: MeshNamespace) -> None:
    objects.apply(door, authorization_policy("where", "ALLOW", rule(to={"hosts": [f"web.{GUARDED}", "*.shop.example"]}), app="web"))
    found = {host: status(door, "alice", host=host) for host in (f"WEB.{GUARDED}", "a.shop.example", "shop.example", "web")}
    assert found == {f"WEB.{GUARDED}": 200, "a.shop.example": 200, "shop.example": 403, "web": 403}
    objects.apply(door, authorization_policy("where", "ALLOW", rule(to={"ports": ["8081"]}), app="web"))
    assert [status(door, "alice", number=number) for number in (8080, 8081)] == [403, 200]
    objects.apply(door, authorization_policy("where", "ALLOW", rule(to={"notPorts": ["8081"]}), app="web"))
    assert [status(door, "alice", number=number) for number in (8080, 8081)] == [200, 403]


def test_a_denial_prevails_over_a_permission(door: MeshNamespace) -> None:
    objects.apply(
        door,
        authorization_policy("all", "ALLOW", {}, app="web"),
        authorization_policy("not-bob", "DENY", rule(source={"principals": [BOB]}), app="web"),
    )
    assert callers(door) == ["alice", "carol"]


def test_one_of_several_permissions_is_enough(door: MeshNamespace) -> None:
    objects.apply(
        door,
        authorization_policy("alice", "ALLOW", rule(source={"principals": [ALICE]}), app="web"),
        authorization_policy("bob", "ALLOW", rule(source={"principals": [BOB]}, to={"paths": ["/"]}), app="web"),
    )
    assert callers(door) == ["alice", "bob"]
    assert status(door, "bob", path="/more") == 403


def test_a_permission_without_rules_permits_nobody_and_an_empty_rule_everybody(door: MeshNamespace) -> None:
    objects.apply(door, authorization_policy("none", "ALLOW", app="web"))
    assert callers(door) == []
    objects.apply(door, authorization_policy("none", "ALLOW", {}, app="web"))
    assert callers(door) == ["alice", "bob", "carol"]


def test_a_policy_concerns_the_workloads_it_selects(door: MeshNamespace) -> None:
    objects.apply(door, authorization_policy("none", "ALLOW", app="web"))
    assert [status(door, "alice", to=to) for to in ("web", "tv")] == [403, 200]
    objects.apply(door, authorization_policy("none", "ALLOW"))
    assert [status(door, "alice", to=to) for to in ("web", "tv")] == [403, 403]


def test_a_policy_of_the_root_namespace_holds_everywhere(door: MeshNamespace) -> None:
    denied = authorization_policy("no-carol", "DENY", rule(source={"namespaces": ["elsewhere"]}), namespace=ROOT_NAMESPACE)
    objects.apply(door, denied, authorization_policy("all", "ALLOW", {}, app="web"))
    assert callers(door) == ["alice", "bob"]
    assert status(door, "carol", to="tv") == 403


def test_a_policy_of_the_root_namespace_may_select_workloads_of_every_namespace(door: MeshNamespace) -> None:
    objects.apply(door, authorization_policy("tv", "DENY", rule(source={"principals": [BOB]}), app="tv", namespace=ROOT_NAMESPACE))
    assert [status(door, "bob", to=to) for to in ("web", "tv")] == [200, 403]


def test_removing_the_policy_removes_its_effect(door: MeshNamespace) -> None:
    objects.apply(door, authorization_policy("none", "ALLOW", app="web"))
    assert callers(door) == []
    door.delete("AuthorizationPolicy", "none")
    assert callers(door) == ["alice", "bob", "carol"]


def test_the_program_sees_nothing_of_a_denied_request(door: MeshNamespace) -> None:
    objects.apply(door, authorization_policy("none", "ALLOW", app="web"))
    before = door.log("web")
    answer = ask(door, "alice", "http", "web", 8080)
    assert (answer["status"], answer["body"]) == (403, "RBAC: access denied")
    assert door.log("web") == before


def test_policies_that_come_and_go_cost_no_request_of_a_permitted_caller(door: MeshNamespace) -> None:
    with constant_load(door, "web:8080") as load:
        for principal in (ALICE, BOB, ALICE):
            objects.apply(door, authorization_policy("load", "ALLOW", rule(source={"principals": [principal, "*/sa/load"]}), app="web"))
            assert callers(door, "alice", "bob") == ["alice" if principal is ALICE else "bob"]
        door.delete("AuthorizationPolicy", "load")
    door.delete("Deployment", "load")
    assert load.total > 50
    assert load.failed == 0, load.failures
