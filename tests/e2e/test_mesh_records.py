"""What the sidecars tell of a request: both sides, who it was, what was decided, and how it can be followed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.objects import Document, authorization_policy, port, rule
from tests.e2e.programs import server_command

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

NAMESPACE = "told"
ALICE, WEB = (f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{name}" for name in ("alice", "web"))
# What is told where no policy had to decide.
UNDECIDED: Document = {"verdict": "allow", "policy": None, "rule": None, "reason": None, "dryRun": None, "audit": []}
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@pytest.fixture(scope="module")
def tale(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server, a caller with an identity of its own, and a program outside of the mesh."""
    mesh = shared_mesh.namespace(NAMESPACE)
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("alice", "web")),
        objects.pod("web", server_command("http@[::]:8080", "tcp@[::]:9000", "grpc@[::]:8082"), account="web"),
        objects.service("web", port(80, "http", 8080), port(9000, "tcp"), port(8082, "grpc")),
        objects.idle("alice", account="alice"),
        objects.idle("outside", meshed=False),
    )
    mesh.ready("web", "alice", "outside")
    yield mesh
    mesh.clear()


def both_sides(mesh: MeshNamespace, **asked: Any) -> tuple[Document, Document]:
    """What source and destination say of the one thing that is asked for."""
    found = mesh.records(at_least=2, **asked)
    by_reporter = {each["reporter"]: each for each in found}
    return by_reporter["source"], by_reporter["destination"]


def test_a_request_is_recorded_completely_on_both_sides(tale: MeshNamespace) -> None:
    answer = ask(tale, "alice", "http", "web", 80, method="POST", path="/cart?x=1", body="12345", headers={"x-request-id": "first"})
    pods = {name: tale.get("pods", name)["status"]["podIP"] for name in ("alice", "web")}
    for record in both_sides(tale, request_id="first"):
        assert record["source"] == {"identity": ALICE, "pod": "alice", "namespace": NAMESPACE, "address": pods["alice"]}
        destination = {"identity": WEB, "pod": "web", "namespace": NAMESPACE, "address": pods["web"]}
        assert record["destination"] == {**destination, "service": f"web.{NAMESPACE}.svc.cluster.local", "port": 80}
        assert (record["method"], record["path"], record["authority"], record["status"]) == ("POST", "/cart?x=1", "web", 200)
        assert (record["bytesIn"], record["bytesOut"]) == (5, len(answer["body"]))
        assert record["mtls"] == {"version": "TLSv1.3", "cipher": record["mtls"]["cipher"], "group": "X25519MLKEM768"}
        assert record["decision"] == UNDECIDED
        assert record["flags"] is None
        assert 0 < record["durationMs"] < 10_000


def test_a_request_id_and_a_trace_are_made_and_passed_on(tale: MeshNamespace) -> None:
    seen = json.loads(ask(tale, "alice", "http", "web", 80)["body"])["headers"]
    match = TRACEPARENT.fullmatch(seen["traceparent"])
    assert match
    for record in both_sides(tale, request_id=seen["x-request-id"]):
        assert record["traceId"] == match[1]
        assert record["spanId"]


def test_a_request_id_and_a_trace_of_the_callers_own_are_kept(tale: MeshNamespace) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"x-request-id": "mine", "traceparent": f"00-{trace}-{span}-01"}
    seen = json.loads(ask(tale, "alice", "http", "web", 80, headers=headers)["body"])["headers"]
    assert seen["x-request-id"] == "mine"
    match = TRACEPARENT.fullmatch(seen["traceparent"])
    assert match
    assert match[1] == trace
    assert {record["traceId"] for record in both_sides(tale, request_id="mine")} == {trace}


def test_a_connection_is_recorded_with_both_identities(tale: MeshNamespace) -> None:
    assert ask(tale, "alice", "tcp", "web", 9000)["said"] == ["HELLO"]
    source, destination = both_sides(tale, to="web", where=lambda each: each["protocol"] == "TCP" and each["destination"]["port"] == 9000)
    for record in (source, destination):
        assert (record["source"]["identity"], record["destination"]["identity"]) == (ALICE, WEB)
        assert record["destination"]["service"] == f"web.{NAMESPACE}.svc.cluster.local"
        assert (record["bytesIn"], record["bytesOut"]) == (6, 6)
        assert record["mtls"]["version"] == "TLSv1.3"
        assert record["decision"]["verdict"] == "allow"


def test_the_status_of_grpc_is_recorded(tale: MeshNamespace) -> None:
    assert ask(tale, "alice", "grpc", "web", 8082)["once"] == "HELLO"
    for record in both_sides(tale, to="web", where=lambda each: each["path"] == "/test.Echo/Once"):
        assert (record["protocol"], record["grpcStatus"]) == ("gRPC", 0)


def test_a_denied_request_is_recorded_with_the_policy_and_rule_that_denied(tale: MeshNamespace) -> None:
    rules = (rule(source={"namespaces": ["nowhere"]}), rule(to={"paths": ["/secret"]}))
    objects.apply(tale, authorization_policy("keep", "DENY", *rules, app="web"))
    try:
        assert ask(tale, "alice", "http", "web", 80, path="/secret", headers={"x-request-id": "denied"})["status"] == 403
        source, destination = both_sides(tale, request_id="denied")
    finally:
        tale.delete("AuthorizationPolicy", "keep")
    assert destination["decision"] == UNDECIDED | {"verdict": "deny", "policy": f"{NAMESPACE}/keep", "rule": "1"}
    assert (source["status"], destination["status"]) == (403, 403)
    assert destination["source"]["identity"] == ALICE
    assert "denied" in {each["requestId"] for each in tale.records(denied=True)}


def test_a_request_denied_because_nothing_permits_it_names_no_policy(tale: MeshNamespace) -> None:
    objects.apply(tale, authorization_policy("none", "ALLOW", app="web"))
    try:
        assert ask(tale, "alice", "http", "web", 80, headers={"x-request-id": "implicit"})["status"] == 403
        _, destination = both_sides(tale, request_id="implicit")
    finally:
        tale.delete("AuthorizationPolicy", "none")
    assert destination["decision"] == UNDECIDED | {"verdict": "deny", "reason": "no ALLOW rule matched"}


def test_a_plaintext_caller_of_a_strict_workload_is_recorded_as_denied(tale: MeshNamespace) -> None:
    pods = {name: tale.get("pods", name)["status"]["podIP"] for name in ("outside", "web")}
    assert "error" in ask(tale, "outside", "http", pods["web"], 8080)
    (record,) = tale.records(at_least=1, denied=True, where=lambda each: each["source"]["address"] == pods["outside"])
    assert (record["reporter"], record["destination"]["pod"], record["mtls"]) == ("destination", "web", None)
    assert record["source"]["identity"] is None
    assert record["decision"]["verdict"] == "deny"


def test_a_failed_handshake_is_recorded_with_its_reason(tale: MeshNamespace) -> None:
    script = """if True:
        import socket, ssl, sys
        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
        line = settings.wrap_socket(socket.create_connection((sys.argv[1], 8080)))
        try:
            line.sendall(b"GET / HTTP/1.1\\r\\nhost: web\\r\\n\\r\\n")
            print(line.recv(100))
        except OSError as error:
            print("cut off")
    """
    address = tale.get("pods", "web")["status"]["podIP"]
    assert tale.exec("outside", sys.executable, "-c", script, address).stdout in ("cut off\n", "b''\n")
    (record,) = tale.records(at_least=1, denied=True, where=lambda each: "PEER_DID_NOT_RETURN_A_CERTIFICATE" in (each["details"] or ""))
    caller = tale.get("pods", "outside")["status"]["podIP"]
    assert (record["reporter"], record["source"]["address"], record["destination"]["pod"]) == ("destination", caller, "web")


def test_a_request_to_a_host_outside_the_mesh_is_recorded_by_its_caller(tale: MeshNamespace) -> None:
    address = tale.get("pods", "outside")["status"]["podIP"]
    answer = ask(tale, "alice", "http", address, 7777, headers={"x-request-id": "away"})
    assert "error" in answer or answer["status"] == 503
    (record,) = tale.records(at_least=1, where=lambda each: each["destination"]["port"] == 7777)
    assert (record["reporter"], record["source"]["identity"], record["mtls"]) == ("source", ALICE, None)
    assert "UF" in record["flags"]
    assert record["details"]
