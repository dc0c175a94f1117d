"""Who was revoked is refused by real Envoys: on open connections, on new ones, by list and without; and nobody else notices."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from tests.e2e.envoy_rig import RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, PORTS, VIP, Mesh, caller, denied_by, policy
from tests.e2e.envoy_rig_programs import converse
from tests.e2e.envoy_rig_server import Authority, roots

from hauberk.agent.sds import encode_trusts
from hauberk.identity.trust import ForeignBundle, Revoked, Trust
from hauberk.telemetry.decision import is_denied, read_decision
from hauberk.telemetry.record import Decision, Outcome, Verdict
from hauberk.translate.revocation import encode_revoked
from hauberk.translate.tls import ROOTS, ROOTS_UPSTREAM
from hauberk.xds.resource import EXTENSION, Resource

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        yield Mesh(made)


@contextmanager
def told(mesh: Mesh, revoked: Revoked, *listed: bytes) -> Iterator[None]:
    """Every sidecar refuses `revoked`, and has a list of the certificates `listed` if there are any."""
    with given(mesh, (*trusted(mesh, *listed), *encode_revoked(revoked))):
        yield


@contextmanager
def given(mesh: Mesh, resources: Iterable[Resource]) -> Iterator[None]:
    """Every sidecar is told these in place of whom it trusted and refused before."""
    before, told = {pod.name: pod.certificates for pod in mesh.rig.pods.values()}, tuple(resources)
    for pod in mesh.rig.pods.values():
        kept = [each for each in pod.certificates if each.type_url != EXTENSION and not each.name.startswith("ROOTCA")]
        pod.certificates = (*kept, *told)
    mesh.rig.push()
    try:
        yield
    finally:
        for pod in mesh.rig.pods.values():
            pod.certificates = before[pod.name]
        mesh.rig.push()


def trusted(mesh: Mesh, *listed: bytes) -> tuple[Resource, ...]:
    return tuple(roots(mesh.rig.authority, *listed, name=name) for name in (ROOTS, ROOTS_UPSTREAM))


def certificate(pod: RigPod) -> bytes:
    own = next(each for each in pod.certificates if each.name == "default")
    secret = secret_pb2.Secret.FromString(EncodedResource.FromString(own.encoded).resource.value)
    return secret.tls_certificate.certificate_chain.inline_bytes


def serial(pod: RigPod) -> str:
    return f"{x509.load_pem_x509_certificate(certificate(pod)).serial_number:032x}"


@contextmanager
def open_connection(pod: RigPod) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(VIP, 80)
    connection.sock = pod.connect(VIP, 80)
    try:
        yield connection
    finally:
        connection.close()


def status(connection: http.client.HTTPConnection, path: str = "/") -> int:
    connection.request("GET", path, headers={"Host": "web"})
    response = connection.getresponse()
    response.read()
    return response.status


@pytest.mark.parametrize("by", ["identity", "certificate"])
def test_the_next_request_of_an_open_connection_is_refused_and_only_there(mesh: Mesh, by: str) -> None:
    revoked = Revoked(identities=frozenset({CLIENT})) if by == "identity" else Revoked(serials=frozenset({serial(mesh.client)}))
    with open_connection(mesh.client) as client, open_connection(mesh.other) as other:
        assert (status(client), status(other)) == (200, 200)
        with told(mesh, revoked):
            assert (status(client, f"/refused-{by}"), status(other, f"/served-{by}")) == (403, 200)
            assert mesh.client.request(VIP, 80, host="web").status == 403
        # Nothing of the connection was lost: it is the same as before.
        assert (status(client), status(other)) == (200, 200)
    assert denied_by(mesh.web.record(p=f"/refused-{by}")) == f"hauberk-revoked[{by}]"
    assert read_decision(mesh.web.record(p=f"/refused-{by}")).outcome.reason == f"revoked {by}"
    # Who was not revoked is not recorded as if some policy of the user's had said so.
    assert read_decision(mesh.web.record(p=f"/served-{by}")) == Decision(outcome=Outcome(verdict=Verdict.ALLOW))


def test_a_thousand_revocations_refuse_each_of_them_and_nobody_else(mesh: Mesh) -> None:
    serials = frozenset(f"{number:032x}" for number in range(1 << 127, (1 << 127) + 1000))
    identities = frozenset(f"spiffe://cluster.local/ns/shop/sa/{number}" for number in range(1000))
    with told(mesh, Revoked(serials=serials | {serial(mesh.client)}, identities=identities)):
        assert mesh.client.request(VIP, 80, host="web").status == 403
        assert mesh.other.request(VIP, 80, host="web").status == 200
        assert converse(mesh.client.connect(VIP, 84), b"") == b""
        assert converse(mesh.other.connect(VIP, 84)) == b"welcome\nheard hello"


@pytest.mark.parametrize("by", ["identity", "certificate"])
def test_without_a_list_no_program_hears_of_a_new_connection_of_bytes(mesh: Mesh, by: str) -> None:
    revoked = Revoked(identities=frozenset({CLIENT})) if by == "identity" else Revoked(serials=frozenset({serial(mesh.client)}))
    with told(mesh, revoked):
        before = list(mesh.connections)
        for port in (84, 86, 87):
            # Who says nothing is refused as well: a server that speaks first would have greeted him.
            assert converse(mesh.client.connect(VIP, port), b"") == b""
            assert converse(mesh.client.connect(VIP, port)) in (b"", b"<reset>")
        assert mesh.connections == before
        refusals = eventually(
            lambda: (found := [r for r in mesh.web.records() if r.get("q") == f"deny|hauberk-revoked[{by}]"])[5:] and found
        )
        assert all(is_denied(each) and each["pi"] == CLIENT for each in refusals)
        assert converse(mesh.other.connect(VIP, 86)) == b"heard hello"
        assert converse(mesh.other.connect(VIP, 84)) == b"welcome\nheard hello"


def test_whom_policy_allows_and_a_revocation_does_not_reaches_no_program(mesh: Mesh) -> None:
    with mesh.having(policy("all", "ALLOW", caller("client", "other"))), told(mesh, Revoked(identities=frozenset({CLIENT}))):
        before = list(mesh.connections)
        assert converse(mesh.client.connect(VIP, 84), b"") == b""
        assert mesh.connections == before
        assert converse(mesh.other.connect(VIP, 84)) == b"welcome\nheard hello"


def test_a_list_refuses_new_handshakes_at_once_and_the_program_sees_none_of_it(mesh: Mesh) -> None:
    with mesh.client.connect(VIP, 84) as kept:
        assert kept.recv(100) == b"welcome\n"
        with told(mesh, Revoked(), certificate(mesh.client)):
            before = list(mesh.connections)
            assert b"welcome" not in converse(mesh.client.connect(VIP, 84))
            assert mesh.connections == before
            assert converse(mesh.other.connect(VIP, 84)) == b"welcome\nheard hello"
            failure = mesh.web.record(k="l", la=f"{mesh.web.addresses[0]}:{PORTS[84][1]}")
            assert "certificate_revoked" in str(failure["tf"])
        # A list ends no connection: that is the agent's work.
        kept.sendall(b"still here")
        assert kept.recv(100) == b"heard still here"


def test_where_a_foreign_domain_is_trusted_the_filters_do_what_the_list_cannot(mesh: Mesh) -> None:
    root = x509.load_pem_x509_certificate(mesh.rig.authority.root)
    partner = x509.load_pem_x509_certificate(Authority("partner.example").root)
    crl = x509.load_pem_x509_crl(mesh.rig.authority.crl(certificate(mesh.client))).public_bytes(Encoding.DER)
    trust = Trust(
        sequence=1,
        trust_domain="cluster.local",
        x509_authorities=(root,),
        crls=(crl,),
        revoked=Revoked(serials=frozenset({serial(mesh.client)})),
        federated=(ForeignBundle(trust_domain="partner.example", x509_authorities=(partner,)),),
    )
    with given(mesh, (*encode_trusts(trust), *encode_revoked(trust.revoked))):
        before = list(mesh.connections)
        assert mesh.client.request(VIP, 80, host="web").status == 403
        assert converse(mesh.client.connect(VIP, 86)) in (b"", b"<reset>")
        assert converse(mesh.client.connect(VIP, 84), b"") == b""
        assert mesh.connections == before
        assert mesh.other.request(VIP, 80, host="web").status == 200
        assert converse(mesh.other.connect(VIP, 84)) == b"welcome\nheard hello"


def test_a_revoked_server_is_refused_by_its_callers(mesh: Mesh) -> None:
    with told(mesh, Revoked(), certificate(mesh.web)):
        assert b"welcome" not in converse(mesh.client.connect(VIP, 84))
    assert converse(mesh.client.connect(VIP, 84)) == b"welcome\nheard hello"
