"""Every protocol of the mesh between programs that know nothing of it: declared and found out, over IPv4 and over IPv6."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.objects import port
from tests.e2e.programs import server_command

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

PORTS = {"http": 8080, "websocket": 8080, "h2": 8081, "grpc": 8082, "tcp": 8083, "greet": 8084}
NAMES = {"http": "http", "h2": "http2", "grpc": "grpc", "tcp": "tcp", "greet": "tcp-mail"}
ANSWERS: dict[str, Any] = {
    "websocket": {"status": 101, "said": ["HELLO", "AGAIN"], "proven": True},
    "h2": {"statuses": ["200", "200"], "bodies": ["/one", "/two"]},
    "grpc": {"once": "HELLO", "count": ["0", "1", "2", "3", "4"], "chat": ["A", "B"]},
    "tcp": {"greeting": "", "said": ["HELLO", "AGAIN"]},
    "greet": {"greeting": "220 welcome", "said": ["HELLO", "AGAIN"]},
}


@pytest.fixture(scope="module")
def speakers(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """One pod that speaks everything, behind a service that says what its ports speak and one that does not; and a caller."""
    mesh = shared_mesh.namespace("protocols")
    numbers = {kind: number for kind, number in PORTS.items() if kind != "websocket"}
    objects.apply(
        mesh,
        objects.pod("server", server_command(*(f"{kind}@[::]:{number}" for kind, number in numbers.items()))),
        objects.service("declared", *(port(number, NAMES[kind]) for kind, number in numbers.items()), app="server", **DUAL),
        objects.service("plain", *(port(number, f"port-{number}") for number in numbers.values()), app="server", **DUAL),
        objects.service(
            "said", *(port(number, kind, appProtocol=NAMES[kind]) for kind, number in numbers.items() if kind != "greet"), app="server"
        ),
        objects.idle("client"),
    )
    mesh.ready("server", "client")
    yield mesh
    mesh.clear()


DUAL = {"ipFamilyPolicy": "PreferDualStack"}


@pytest.mark.parametrize("service", ["declared", "plain"])
@pytest.mark.parametrize("family", [4, 6])
def test_the_program_gets_the_http_request_as_it_was_sent(speakers: MeshNamespace, service: str, family: int) -> None:
    path, headers = "/a%20b/c?x=1&y=%2F", {"x-own": "kept", "accept": "text/*"}
    answer = ask(speakers, "client", "http", service, 8080, family=family, method="POST", path=path, headers=headers, body="x" * 100_000)
    seen = json.loads(answer["body"])
    assert (seen["method"], seen["path"], seen["version"], seen["body"]) == ("POST", path, "HTTP/1.1", "x" * 100_000)
    assert seen["headers"]["host"] == f"{service}:8080"
    assert seen["headers"].items() >= headers.items()
    # Nothing of what sidecars tell each other comes through, in either direction.
    assert [name for name in seen["headers"] if name.startswith(("x-envoy", "x-istio"))] == []
    assert [name for name in answer["headers"] if name.lower().startswith(("x-envoy", "x-istio"))] == []


def test_a_caller_cannot_claim_an_identity_by_a_header(speakers: MeshNamespace) -> None:
    forged = "By=spiffe://x;URI=spiffe://cluster.local/ns/x/sa/admin"
    answer = ask(speakers, "client", "http", "declared", 8080, headers={"x-forwarded-client-cert": forged})
    assert "admin" not in json.loads(answer["body"])["headers"].get("x-forwarded-client-cert", "")


def test_the_callers_socket_is_connected_to_the_services_address(speakers: MeshNamespace) -> None:
    addresses = speakers.get("services", "declared")["spec"]["clusterIPs"]
    script = f"import socket; print(socket.create_connection(('declared', 8080)).getpeername()[0] in {addresses})"
    assert len(addresses) == 2
    assert speakers.exec("client", sys.executable, "-c", script).stdout == "True\n"


@pytest.mark.parametrize("kind", [kind for kind in ANSWERS if kind != "greet"])
def test_the_application_protocol_of_a_port_declares_it(speakers: MeshNamespace, kind: str) -> None:
    assert ask(speakers, "client", kind, "said", PORTS[kind], words=("hello", "again")) == ANSWERS[kind]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("service", ["declared", "plain"])
@pytest.mark.parametrize("kind", [*ANSWERS])
def test_a_protocol_passes_whether_it_was_declared_or_is_found_out(speakers: MeshNamespace, kind: str, service: str, family: int) -> None:
    answer = ask(speakers, "client", kind, service, PORTS[kind], family=family, words=("hello", "again"))
    assert answer == ANSWERS[kind]


def test_a_client_that_has_said_everything_still_gets_its_answer(speakers: MeshNamespace) -> None:
    assert ask(speakers, "client", "raw", "declared", PORTS["tcp"], text="hello", ends=True) == {"answer": "HELLO"}


BODY = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
REQUESTS = {
    "without a host, as HTTP/1.0 may": ("GET /x HTTP/1.0\r\n\r\n", "HTTP/1.0 200", '"path": "/x"'),
    "for a host that nobody knows": (
        "GET /x HTTP/1.1\r\nhost: other.example\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200",
        "other.example",
    ),
    "in chunks": (f"POST /x HTTP/1.1\r\nhost: declared\r\nconnection: close\r\n{BODY}", "HTTP/1.1 200", "chunked"),
    "with an absolute target": ("GET http://declared/x HTTP/1.1\r\nhost: declared\r\nconnection: close\r\n\r\n", "HTTP/1.1 200", '"/x"'),
    "that waits for permission to go on": (
        "POST /x HTTP/1.1\r\nhost: declared\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 100",
        '"body": "abc"',
    ),
}


@pytest.mark.parametrize("service", ["declared", "plain"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_service_is_reached_by_every_form_of_request(speakers: MeshNamespace, request_: str, service: str) -> None:
    text, first, held = REQUESTS[request_]
    answer = ask(speakers, "client", "raw", service, 8080, text=text)["answer"]
    assert answer.startswith(first)
    assert held in answer


def test_the_answer_to_head_has_a_length_and_no_body(speakers: MeshNamespace) -> None:
    text = "HEAD / HTTP/1.1\r\nhost: declared\r\nconnection: close\r\n\r\n"
    head, _, body = ask(speakers, "client", "raw", "declared", 8080, text=text)["answer"].partition("\r\n\r\n")
    assert "content-length" in head.lower()
    assert body == ""
