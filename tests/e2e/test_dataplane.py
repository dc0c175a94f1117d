"""What unaware programs say to each other through real Envoys that hold our translation, without the rest of the mesh."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from tests.e2e.envoy_rig import eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, PORTS, VIP, VIP6, WEB, Mesh, policy, service
from tests.e2e.envoy_rig_programs import WEBSOCKET, converse, request_http2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        yield Mesh(made)


# -- protocols ---------------------------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_sent_and_its_answer_comes_back_clean(mesh: Mesh) -> None:
    answer = mesh.client.request(VIP, 80, "/a?b=c", method="POST", host="web", headers={"X-Mine": "1"}, body=b"text")
    seen = answer.echo
    assert (seen["method"], seen["path"], seen["body"], seen["headers"]["host"]) == ("POST", "/a?b=c", "text", "web")
    added = {"x-request-id", "traceparent", "x-forwarded-proto"}
    assert set(seen["headers"]) - added == {"host", "x-mine", "accept-encoding", "content-length"}
    assert answer.headers.keys() - {"date"} == {"content-length", "server", "x-own"}
    assert answer.headers["server"] == "a-program"


def test_both_sides_record_a_request_with_the_other_sides_identity(mesh: Mesh) -> None:
    mesh.client.request(VIP, 80, "/recorded", host="web")
    source = mesh.client.record(p="/recorded")
    destination = mesh.web.record(p="/recorded")
    assert (source["d"], source["pi"], source["c"], source["w"]) == ("o", WEB, "outbound|80||web.shop.svc.cluster.local", "web.shop")
    assert (destination["d"], destination["pi"]) == ("i", CLIENT)
    assert destination["n"] == "outbound_.80_._.web.shop.svc.cluster.local"
    for each in (source, destination):
        assert (each["s"], each["tv"], each["tg"]) == (200, "TLSv1.3", "X25519MLKEM768")
    assert source["r"] == destination["r"]
    assert source["tp"] == destination["tp"]
    assert (source["v"], destination["v"]) == ("HTTP/1.1", "HTTP/2")
    assert [each["k"] for each in mesh.web.records() if each.get("p") == "/recorded"] == ["h"]


@pytest.mark.parametrize("address", [VIP, VIP6])
@pytest.mark.parametrize("port", [80, 81, 85])
def test_http1_reaches_the_program_by_ipv4_and_ipv6(mesh: Mesh, address: str, port: int) -> None:
    assert mesh.client.request(address, port, host="web").status == 200


@pytest.mark.parametrize("port", [82, 83, 88])
def test_http2_with_prior_knowledge_reaches_the_program(mesh: Mesh, port: int) -> None:
    with mesh.client.connect(VIP, port) as connection:
        assert request_http2(connection, "web").headers[":status"] == "200"


def test_a_grpc_status_in_trailers_comes_back_and_is_recorded(mesh: Mesh) -> None:
    with mesh.client.connect(VIP, 83) as connection:
        answer = request_http2(connection, "web", "/a.B/C", {"content-type": "application/grpc", "te": "trailers"})
    assert answer.trailers["grpc-status"] == "5"
    assert mesh.client.record(p="/a.B/C")["g"] == 5


@pytest.mark.parametrize("port", [80, 85])
def test_a_websocket_crosses_both_sidecars(mesh: Mesh, port: int) -> None:
    with mesh.client.connect(VIP, port) as connection:
        fields = "".join(f"{name}: {value}\r\n" for name, value in WEBSOCKET.items())
        connection.sendall(f"GET /chat HTTP/1.1\r\nHost: web\r\n{fields}\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        connection.sendall(b"over")
        assert connection.recv(4096) == b"echo over"


@pytest.mark.parametrize("port", [80, 85])
def test_it_is_told_when_a_websocket_begins_and_ends_and_its_request_is_recorded_once(mesh: Mesh, port: int) -> None:
    path = f"/told/{port}"

    def told() -> list[str]:
        return [each["e"] for each in mesh.web.upgrades() if each["p"] == path]

    with mesh.client.connect(VIP, port) as connection:
        fields = "".join(f"{name}: {value}\r\n" for name, value in WEBSOCKET.items())
        connection.sendall(f"GET {path}?token=x HTTP/1.1\r\nHost: web\r\n{fields}\r\n".encode())
        eventually(lambda: told() == ["DownstreamTunnelSuccessfullyEstablished"])
    record = mesh.web.record(m="GET", p=f"{path}?token=x")
    eventually(lambda: told() == ["DownstreamTunnelSuccessfullyEstablished", "DownstreamEnd"])
    begun, over = (each for each in mesh.web.upgrades() if each["p"] == path)
    assert (begun["pi"], begun["a"], begun["ra"], begun["uv"]) == (CLIENT, "web", mesh.client.addresses[0], "HTTP/1.1")
    assert begun["la"] == begun["ur"] == f"{mesh.web.addresses[0]}:{PORTS[port][1]}"
    assert begun["t"] == over["t"] == record["t"]
    assert sum(each["t"] == record["t"] for each in mesh.web.records()) == 1


@pytest.mark.parametrize("port", [84, 87])
def test_a_server_that_speaks_first_is_heard(mesh: Mesh, port: int) -> None:
    with mesh.client.connect(VIP, port) as connection:
        connection.settimeout(5)
        assert connection.recv(100) == b"welcome\n"
    assert mesh.web.record(k="t", la=f"{mesh.web.addresses[0]}:{PORTS[port][1]}")["pi"] == CLIENT


@pytest.mark.parametrize("address", [VIP, VIP6])
def test_bytes_of_an_undeclared_protocol_arrive(mesh: Mesh, address: str) -> None:
    assert converse(mesh.client.connect(address, 86)) == b"heard hello"


def test_a_pod_that_calls_its_own_service_meets_its_own_sidecar(mesh: Mesh) -> None:
    assert mesh.web.request(VIP, 80, "/self", host="web").status == 200
    assert mesh.web.record(p="/self", d="i")["pi"] == WEB


@pytest.mark.parametrize("host", ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "WEB:80", VIP, "other.example"])
def test_the_service_answers_to_its_names_and_to_any_name_at_its_address(mesh: Mesh, host: str) -> None:
    assert mesh.client.request(VIP, 80, host=host).echo["headers"]["host"] == host


def test_http_1_0_without_a_host_is_served(mesh: Mesh) -> None:
    assert converse(mesh.client.connect(VIP, 80), b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")


def test_a_headless_service_is_reached_at_its_pods_addresses_over_mutual_tls(mesh: Mesh) -> None:
    headless = service("direct", ["None"], {8080: ("http", 8080), 8084: ("tcp", 8084)}, app="web")
    with mesh.having(headless):
        (pod, pod6) = mesh.web.addresses
        assert mesh.client.request(pod, 8080, "/headless", host="direct").status == 200
        assert mesh.web.record(p="/headless")["pi"] == CLIENT
        assert converse(mesh.client.connect(pod6, 8084)) == b"welcome\nheard hello"


def test_a_service_outside_of_the_mesh_is_spoken_to_in_plain(mesh: Mesh) -> None:
    with mesh.having(service("outside", ["10.96.0.9"], {80: ("http", 80), 9000: ("tcp", 9000)})):
        assert mesh.client.request("10.96.0.9", 80, "/plain", host="outside").status == 200
        assert "pi" not in mesh.client.record(p="/plain")
        assert converse(mesh.client.connect("10.96.0.9", 9000)) == b"welcome\nheard hello"


def test_destinations_that_the_mesh_does_not_know_are_passed_through(mesh: Mesh) -> None:
    address = mesh.outside.addresses[0]
    assert mesh.client.request(address, 80, "/unknown", host="unknown.example").status == 200
    assert mesh.client.record(p="/unknown")["c"] == "PassthroughCluster"
    assert converse(mesh.client.connect(address, 9000)) == b"welcome\nheard hello"


# -- what is made and what is not believed -------------------------------------------------------------------------------


def test_a_request_without_them_gets_an_id_and_a_trace_context(mesh: Mesh) -> None:
    headers = mesh.client.request(VIP, 80, host="web", headers={"X-Request-Id": "not hexadecimal"}).echo["headers"]
    assert headers["x-request-id"] == "not hexadecimal"
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00", headers["traceparent"])
    others = mesh.client.request(VIP, 80, host="web").echo["headers"]
    assert re.fullmatch(r"[0-9a-f-]{36}", others["x-request-id"])
    assert others["traceparent"] != headers["traceparent"]


def test_an_id_and_a_trace_context_that_are_there_are_passed_on(mesh: Mesh) -> None:
    sent = {"x-request-id": "mine", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "x=y"}
    seen = mesh.client.request(VIP, 80, host="web", headers=sent).echo["headers"]
    assert {name: seen[name] for name in sent} == sent


def test_a_caller_cannot_claim_a_certificate_by_a_header(mesh: Mesh) -> None:
    sent = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/shop/sa/king"}
    assert "x-forwarded-client-cert" not in mesh.client.request(VIP, 80, host="web", headers=sent).echo["headers"]


def test_a_path_is_brought_into_one_form_before_it_is_authorized(mesh: Mesh) -> None:
    with mesh.having(policy("no-admin", "DENY", {"to": [{"operation": {"paths": ["/admin*"]}}]})):
        for path in ("/admin", "/ok/../admin", "/./admin", "/%61dmin", "/admin?x=1"):
            assert mesh.client.request(VIP, 80, path, host="web").status == 403, path
        assert mesh.client.request(VIP, 80, "/ok/../fine", host="web").echo["path"] == "/fine"
