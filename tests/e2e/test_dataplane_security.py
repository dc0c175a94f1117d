"""Who gets through two real Envoys that hold our translation, in which mode, by which policy, and what is recorded of those who do not."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.envoy_rig import eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, PORTS, VIP, Mesh, caller, denied_by, mode, plain_outcome, policy
from tests.e2e.envoy_rig_programs import converse, speaks_first
from tests.e2e.envoy_rig_server import NAMESPACE, secrets

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        yield Mesh(made)


# -- mutual TLS --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [8080, 8084, 8085, 8086, 9999])
def test_strict_takes_no_byte_in_plain_and_records_the_attempt(mesh: Mesh, port: int) -> None:
    before = len(mesh.connections)
    assert plain_outcome(mesh.outside, mesh.web.addresses[0], port) == "closed"
    assert len(mesh.connections) == before
    failure = mesh.web.record(k="l", la=f"{mesh.web.addresses[0]}:{port}")
    assert failure["ch"] == mesh.outside.addresses[0]
    assert "NR" in failure["f"]


@pytest.mark.parametrize("which", ["PERMISSIVE", "DISABLE"])
def test_other_modes_take_plain_and_mutual_tls(mesh: Mesh, which: str) -> None:
    with mesh.having(mode("all", NAMESPACE, mtls={"mode": which})):
        for port in (8080, 8084, 8085, 8086, 8087):
            assert plain_outcome(mesh.outside, mesh.web.addresses[0], port) == "served", port
        assert mesh.client.request(VIP, 80, host="web").status == 200
        assert converse(mesh.client.connect(VIP, 84)) == b"welcome\nheard hello"
        before = len(mesh.web.records())
        assert converse(mesh.client.connect(VIP, 86)) == b"heard hello"
        (record,) = eventually(lambda: [r for r in mesh.web.records()[before:] if r["la"].endswith(":8086")])
        # A connection that was made before may go on as it was made, so a new one is looked at.
        assert record.get("pi") == (CLIENT if which == "PERMISSIVE" else None)


def test_a_connection_of_the_mesh_outlives_every_change_of_mode(mesh: Mesh) -> None:
    with mesh.client.connect(VIP, 84) as connection:
        assert connection.recv(100) == b"welcome\n"
        for which in ("PERMISSIVE", "STRICT"):
            with mesh.having(mode("all", NAMESPACE, mtls={"mode": which})):
                pass
        connection.sendall(b"still here")
        assert connection.recv(100) == b"heard still here"


@pytest.mark.parametrize("guarded", [False, True])
def test_a_plain_request_on_a_connection_from_before_strict_is_refused_and_its_record_says_why(mesh: Mesh, guarded: bool) -> None:
    def ask(path: str) -> bytes:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        return connection.recv(4096)

    rules = [policy("all", "ALLOW", {})] if guarded else []
    path = f"/too-late-{guarded}"
    with mesh.having(*rules):
        with mesh.having(mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"})):
            connection = mesh.outside.connect(mesh.web.addresses[0], 8080)
            assert ask("/plain").startswith(b"HTTP/1.1 200")
        with connection:
            assert ask(path).startswith(b"HTTP/1.1 403")
        assert denied_by(mesh.web.record(p=path)) == "hauberk-mutual-tls-required"


def test_a_port_may_have_a_mode_of_its_own(mesh: Mesh) -> None:
    own = mode("web", NAMESPACE, selector={"matchLabels": {"app": "web"}}, portLevelMtls={8080: {"mode": "DISABLE"}})
    with mesh.having(own):
        assert plain_outcome(mesh.outside, mesh.web.addresses[0], 8080) == "served"
        assert plain_outcome(mesh.outside, mesh.web.addresses[0], 8084) == "closed"
        assert mesh.client.request(VIP, 80, host="web").status == 200


def test_tls_of_the_program_itself_is_passed_on_unread_where_plain_is_allowed(mesh: Mesh) -> None:
    own = ssl.create_default_context()
    own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
    with (
        mesh.having(mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"})),
        mesh.outside.connect(mesh.web.addresses[0], 8086) as connection,
        # The program says what it heard, which is no TLS: so its own bytes came through.
        pytest.raises(ssl.SSLError, match=r"WRONG_VERSION_NUMBER|record layer failure"),
    ):
        own.wrap_socket(connection)


def test_a_server_with_another_identity_than_the_services_is_not_spoken_to(mesh: Mesh) -> None:
    web, before = mesh.web, mesh.web.certificates
    web.certificates = secrets(mesh.rig.authority, "impostor")
    try:
        mesh.rig.push()
        # Connections made before live on; only a caller without one meets the impostor.
        answer = mesh.other.request(VIP, 80, "/impostor", host="web")
        assert answer.status == 503
        assert "CERTIFICATE_VERIFY_FAILED" in mesh.other.record(p="/impostor")["x"]
    finally:
        web.certificates = before
        mesh.rig.push()


def test_a_caller_whose_certificate_is_of_another_authority_is_recorded(mesh: Mesh, tmp_path: Path) -> None:
    stranger = type(mesh.rig.authority)().issue("client")
    (tmp_path / "pem").write_bytes(stranger[0] + stranger[1])
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(tmp_path / "pem")
    address = mesh.web.addresses[0]
    with mesh.outside.connect(address, 8080) as connection, pytest.raises(OSError), tls.wrap_socket(connection) as wrapped:
        wrapped.recv(1)
    failure = eventually(lambda: [r for r in mesh.web.records() if r["k"] == "l" and "tf" in r and "CERTIFICATE" in r["tf"]])
    assert failure[0]["la"] == f"{mesh.web.addresses[0]}:8080"


def test_no_session_can_be_resumed(mesh: Mesh, tmp_path: Path) -> None:
    certificate, key = mesh.rig.authority.issue("client")
    (tmp_path / "pem").write_bytes(certificate + key)
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(tmp_path / "pem")
    with mesh.outside.connect(mesh.web.addresses[0], 8080) as connection, tls.wrap_socket(connection) as wrapped:
        wrapped.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        assert wrapped.recv(100).startswith(b"HTTP/1.1 200")
        assert wrapped.version() == "TLSv1.3"
        assert wrapped.session is None or not wrapped.session.has_ticket


# -- authorization -----------------------------------------------------------------------------------------------------


def test_a_denied_request_gets_403_and_the_program_does_not_see_it(mesh: Mesh) -> None:
    with mesh.having(policy("readers", "ALLOW", caller("client") | {"to": [{"operation": {"methods": ["GET"]}}]})):
        assert mesh.client.request(VIP, 80, "/r", host="web").status == 200
        before = len(mesh.connections)
        for pod, method in ((mesh.client, "POST"), (mesh.other, "GET")):
            answer = pod.request(VIP, 80, "/denied", method=method, host="web")
            assert (answer.status, answer.body) == (403, b"RBAC: access denied")
        assert len(mesh.connections) == before
        assert denied_by(mesh.web.record(p="/denied", m="GET")) == "hauberk-no-allow-matched"
        assert mesh.web.record(p="/r")["q"] == "ns[shop]-policy[readers]-rule[0]"


def test_deny_wins_over_allow_and_is_recorded_by_name(mesh: Mesh) -> None:
    with mesh.having(policy("all", "ALLOW", {}), policy("not-other", "DENY", caller("client"), caller("other"))):
        assert mesh.other.request(VIP, 80, "/d", host="web").status == 403
        assert denied_by(mesh.web.record(p="/d")) == "ns[shop]-policy[not-other]-rule[1]"


def test_a_policy_holds_for_the_next_request_of_an_open_connection(mesh: Mesh) -> None:
    with mesh.client.connect(VIP, 80) as connection:
        request = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        with mesh.having(policy("nobody", "ALLOW")):
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 403")
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("port", [84, 86, 87])
def test_a_denied_connection_is_closed_before_the_program_hears_of_it(mesh: Mesh, port: int) -> None:
    target = f"{mesh.web.addresses[0]}:{PORTS[port][1]}"
    with mesh.having(policy("client-only", "ALLOW", caller("client")), policy("not-other", "DENY", caller("other"))):
        assert converse(mesh.client.connect(VIP, port)).endswith(b"heard hello")
        before = len(mesh.connections)
        assert converse(mesh.other.connect(VIP, port)) in (b"", b"<reset>")
        assert len(mesh.connections) == before
        assert mesh.web.record(k="t", la=target, q="deny|ns[shop]-policy[not-other]-rule[0]")["pi"].endswith("/sa/other")
        assert mesh.web.record(k="t", la=target, q="allow|ns[shop]-policy[client-only]-rule[0]")["pi"] == CLIENT


def test_a_plain_connection_is_authorized_as_one_of_nobody(mesh: Mesh) -> None:
    address = mesh.web.addresses[0]
    with mesh.having(mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"}), policy("known", "ALLOW", caller("client"))):
        before = len(mesh.connections)
        for port in (8080, 8084, 8086):
            assert plain_outcome(mesh.outside, address, port) == "closed"
        assert len(mesh.connections) == before
    with mesh.having(
        mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"}), policy("ports", "ALLOW", {"to": [{"operation": {"ports": ["8084"]}}]})
    ):
        assert plain_outcome(mesh.outside, address, 8084) == "served"
        assert plain_outcome(mesh.outside, address, 8086) == "closed"


def test_a_port_that_no_service_names_is_authorized_and_reached(mesh: Mesh, tmp_path: Path) -> None:
    mesh.web.serve(9100, speaks_first)
    certificate, key = mesh.rig.authority.issue("client")
    (tmp_path / "pem").write_bytes(certificate + key)
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(tmp_path / "pem")
    for account, expected in (("client", b"welcome\n"), ("other", b"")):
        with (
            mesh.having(policy("one", "ALLOW", caller(account))),
            mesh.outside.connect(mesh.web.addresses[0], 9100) as connection,
            tls.wrap_socket(connection) as wrapped,
        ):
            assert wrapped.recv(100) == expected


# -- endpoints ---------------------------------------------------------------------------------------------------------


def test_a_pod_that_is_not_ready_gets_no_request(mesh: Mesh) -> None:
    mesh.web.ready = False
    try:
        mesh.rig.push()
        assert mesh.client.request(VIP, 80, "/nobody", host="web").status == 503
        assert mesh.client.record(p="/nobody")["f"] == "UH"
    finally:
        mesh.web.ready = True
        mesh.rig.push()
    assert mesh.client.request(VIP, 80, host="web").status == 200
