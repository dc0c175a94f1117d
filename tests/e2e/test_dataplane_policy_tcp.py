"""Policies about connections in a real Envoy that holds our translation: what can be asked, and what a change disturbs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e import envoy_rig
from tests.e2e.envoy_rig import eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, PORTS, VIP, Mesh, caller, mode, policy
from tests.e2e.envoy_rig_programs import converse, speaks_first
from tests.e2e.envoy_rig_server import NAMESPACE

from hauberk.api.authorization_policy import DRY_RUN, AuthorizationPolicy
from hauberk.translate.tcp_authorization import MUTUAL

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

FIRST = 84  # the service's port of a server that speaks first
# What is so large is said of this port alone: the sidecar need not learn it for all the others.
HERE = {"to": [{"operation": {"ports": [str(PORTS[FIRST][1])]}}]}
SERVED, DENIED = b"welcome\nheard hello", (b"", b"<reset>")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        mesh = Mesh(made)
        # The same server in both families.
        mesh.web.serve(9100, speaks_first, "0.0.0.0")
        mesh.web.serve(9100, speaks_first, mesh.web.addresses[1])
        yield mesh


def source(**asked: Any) -> dict[str, Any]:
    return {"from": [{"source": asked}]}


def when(key: str, *values: str, negated: bool = False) -> dict[str, Any]:
    return {"when": [{"key": key, "notValues" if negated else "values": list(values)}]}


def outcomes(mesh: Mesh, port: int = FIRST) -> tuple[bool, bool]:
    """Whether `client` and `other` are served, and the program has heard of nobody else."""
    before = len(mesh.connections)
    found = [converse(pod.connect(VIP, port)) for pod in (mesh.client, mesh.other)]
    assert all(each == SERVED or each in DENIED for each in found), found
    assert len(mesh.connections) == before + sum(each == SERVED for each in found)
    return found[0] == SERVED, found[1] == SERVED


def listeners(mesh: Mesh) -> dict[str, str]:
    """Counters of changes of listeners."""
    lines = mesh.web.admin("/stats?filter=listener_manager").decode().splitlines()
    counted = (
        "listener_in_place_updated",
        "listener_modified",
        "listener_added",
        "total_filter_chains_draining",
        "total_listeners_draining",
    )
    return {name: number for name, _, number in (line.partition(": ") for line in lines) if name.rpartition(".")[2] in counted}


def test_a_changed_policy_touches_no_listener_and_no_connection_and_holds_for_the_next(mesh: Mesh) -> None:
    before = listeners(mesh)
    with mesh.other.connect(VIP, FIRST) as connection:
        assert connection.recv(100) == b"welcome\n"
        with mesh.having(policy("client-only", "ALLOW", caller("client"))):
            assert outcomes(mesh) == (True, False)
            with mesh.having(policy("not-client", "DENY", caller("client"))):
                assert outcomes(mesh) == (False, False)
            assert outcomes(mesh) == (True, False)
        assert outcomes(mesh) == (True, True)
        # What is open goes on; that it has to end is another's work.
        connection.sendall(b"still here")
        assert connection.recv(100) == b"heard still here"
    assert listeners(mesh) == before


def test_a_connection_of_the_mesh_lives_on_while_plain_ones_are_allowed_and_forbidden(mesh: Mesh) -> None:
    with mesh.client.connect(VIP, FIRST) as connection:
        assert connection.recv(100) == b"welcome\n"
        for which in ("PERMISSIVE", "STRICT"):
            before = listeners(mesh)
            with mesh.having(mode("all", NAMESPACE, mtls={"mode": which})):
                pass
            now = listeners(mesh)
            # Its chain is not among those that come and go; another listener would have ended it within half a minute.
            assert now["listener_manager.total_listeners_draining"] == before["listener_manager.total_listeners_draining"] == "0"
        connection.sendall(b"still here")
        assert connection.recv(100) == b"heard still here"


QUESTIONS = [
    (source(principals=["cluster.local/ns/shop/sa/client"]), "client"),
    (source(principals=["*/sa/client"]), "client"),
    (source(principals=["cluster.local/ns/shop/sa/cl*"]), "client"),
    (source(notPrincipals=["cluster.local/ns/shop/sa/client"]), "other"),
    (source(namespaces=["shop"], notServiceAccounts=["other"]), "client"),
    (source(trustDomains=["cluster.local"]), "both"),
    (source(notTrustDomains=["cluster.local"]), "nobody"),
    (source(ipBlocks=["CLIENT"]), "client"),
    (source(ipBlocks=["CLIENT/31", "203.0.113.0/24"]), "maybe"),
    (source(remoteIpBlocks=["10.244.0.0/16"]), "both"),
    (source(notIpBlocks=["CLIENT/32"]), "other"),
    (when("source.ip", "CLIENT"), "client"),
    (when("remote.ip", "CLIENT", negated=True), "other"),
    (when("source.principal", "cluster.local/ns/shop/sa/other"), "other"),
    (when("source.namespace", "elsewhere"), "nobody"),
    (when("destination.ip", "WEB"), "both"),
    (when("destination.ip", "WEB/32", negated=True), "nobody"),
    (when("destination.port", "8084"), "both"),
    (when("destination.port", "8085"), "nobody"),
    (when("connection.sni", "outbound_.84_._.web.shop.svc.cluster.local"), "both"),
    (when("connection.sni", "*.elsewhere", "outbound_.85*"), "nobody"),
    (when("connection.sni", "outbound_*", negated=True), "nobody"),
    (when("experimental.envoy.filters.network.x[y]", "z"), "nobody"),
    ({"to": [{"operation": {"methods": ["GET"]}}]}, "nobody"),
]
SERVED_TO = {"client": (True, False), "other": (False, True), "both": (True, True), "nobody": (False, False)}


def written(mesh: Mesh, value: Any) -> Any:
    """With the pods' addresses in their places."""
    if isinstance(value, str):
        return value.replace("CLIENT", mesh.client.addresses[0]).replace("WEB", mesh.web.addresses[0])
    if isinstance(value, dict):
        return {key: written(mesh, each) for key, each in value.items()}
    return [written(mesh, each) for each in value]


@pytest.mark.parametrize(("rule", "expected"), QUESTIONS, ids=lambda each: each if isinstance(each, str) else None)
def test_whatever_can_be_asked_of_a_connection_is_answered_before_the_server_speaks(
    mesh: Mesh, rule: dict[str, Any], expected: str
) -> None:
    with mesh.having(policy("asked", "ALLOW", written(mesh, rule))):
        found = outcomes(mesh)
    assert found == SERVED_TO[expected] if expected != "maybe" else found[0]


def test_addresses_of_the_sixth_version_are_asked_as_well(mesh: Mesh) -> None:
    address = mesh.web.addresses[1]
    permissive = mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"})
    own = mesh.outside.addresses[1]
    for block, served in (
        (f"{own}/128", True),
        (own, True),
        ("fd00:10:244::/64", True),
        ("fd00:10:245::/64", False),
        ("10.0.0.0/8", False),
    ):
        with mesh.having(permissive, policy("asked", "ALLOW", source(ipBlocks=[block]))):
            found = converse(mesh.outside.connect(address, 9100))
            assert (found == SERVED) is served, block


def test_ten_thousand_principals_and_thousands_of_networks_are_decided_by(mesh: Mesh) -> None:
    names = [f"cluster.local/ns/shop-{number % 50}/sa/a-service-account-{number:05}" for number in range(10_000)]
    blocks = [f"172.16.{number // 256}.{number % 256}" for number in range(2_000)]
    client = CLIENT.removeprefix("spiffe://")
    for found in source(notPrincipals=[*names, client]), source(notIpBlocks=[*blocks, mesh.client.addresses[0]]):
        with mesh.having(policy("many", "DENY", found | HERE)):
            assert outcomes(mesh) == (True, False)


def test_of_256_rules_with_long_names_the_one_that_decides_is_recorded(mesh: Mesh) -> None:
    rules = [source(serviceAccounts=[f"{number:0>63}"]) | HERE for number in range(255)]
    with mesh.having(policy("many", "ALLOW", *rules, caller("client") | HERE)):
        assert outcomes(mesh) == (True, False)
        target = f"{mesh.web.addresses[0]}:{PORTS[FIRST][1]}"
        assert mesh.web.record(k="t", la=target, q="allow|ns[shop]-policy[many]-rule[255]")["pi"] == CLIENT


def tried(found: AuthorizationPolicy) -> AuthorizationPolicy:
    return found.model_copy(update={"metadata": found.metadata.model_copy(update={"annotations": {DRY_RUN: "true"}})})


def test_dry_run_and_audit_are_recorded_and_never_enforced(mesh: Mesh) -> None:
    target = f"{mesh.web.addresses[0]}:{PORTS[FIRST][1]}"
    with mesh.having(tried(policy("only-other", "ALLOW", caller("other"))), policy("seen", "AUDIT", caller("client"))):
        assert outcomes(mesh) == (True, True)
        assert mesh.web.record(k="t", la=target, pi=CLIENT, dp="deny|")["ap"] == "ns[shop]-policy[seen]-rule[0]"
        other = mesh.web.record(k="t", la=target, dp="allow|ns[shop]-policy[only-other]-rule[0]")
        assert other["pi"].endswith("/sa/other")
        assert "ap" not in other


def test_a_sidecar_without_its_decisions_takes_no_connection(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are waited for: nobody is let in by an Envoy that has not heard of its policies."""
    late = mesh.rig.pod("late", labels={"app": "late"})
    late.serve(9200, speaks_first)
    server = late.server
    assert server is not None
    put = server.put
    monkeypatch.setattr(server, "put", lambda found: put([each for each in found if not each.name.startswith(MUTUAL)]))
    monkeypatch.setattr(envoy_rig, "_is_ready", lambda pod: pod.envoy is not None and (pod.server.settled() or pod is late))
    with mesh.having(mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"})):
        eventually(lambda: (late.directory / "admin.sock").exists() and b"INITIALIZING" in late.admin("/ready"))
        with pytest.raises(OSError), mesh.outside.connect(late.addresses[0], 9200, timeout=2):
            pass
        monkeypatch.undo()
        mesh.rig.push()
        assert converse(mesh.outside.connect(late.addresses[0], 9200)) == SERVED
