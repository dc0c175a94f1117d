"""Peers that hold certificates they should not have, against real sidecars: judged by what the victim's program saw, and by the records."""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from cryptography import x509
from tests.e2e.envoy_rig import RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, VIP, WEB, Mesh, caller, policy, service
from tests.e2e.envoy_rig_programs import converse
from tests.e2e.envoy_rig_server import Authority, shown
from tests.e2e.forged import Certified, Oid, answered, authority, context, leaf, offers_resumption, shaken
from tests.e2e.rogue import Rogue

from hauberk.agent.sds import encode_own_trust, encode_trust
from hauberk.identity.trust import ForeignBundle, Trust
from hauberk.mesh.settings import MeshSettings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

Delta = datetime.timedelta
HTTP, TCP = 8080, 8084
ROGUE_VIP = "10.96.0.66"
ROGUE = "spiffe://cluster.local/ns/shop/sa/rogue"


def root_of(made: Authority) -> Certified:
    """The mesh's own authority: what only a thief of its key could sign."""
    return Certified(made._root, made._key)


# What is wrong, how such a certificate for a name comes about, and what the refusal says.
Forge = Callable[[Certified, str], Certified]


def below(signer: Certified, *names: str) -> Certified:
    """A leaf of an authority below one that may have none below it."""
    return leaf(authority("lowest", authority("issuing", signer, below=0)), *names)


def moved(name: str, domain: str) -> str:
    """The same name in another trust domain; `*` in `domain` is its own."""
    _, _, own, path = name.split("/", 3)
    return f"spiffe://{domain.replace('*', own)}/{path}"


FORGERIES: dict[str, tuple[Forge, str]] = {
    "self-signed": (lambda _, name: leaf(None, name), "self.signed|unable_to_get"),
    "of another authority": (lambda _, name: leaf(authority("another"), name), "unable_to_get|self.signed"),
    "of another trust domain": (lambda root, name: leaf(root, moved(name, "evil.example")), "SAN_matcher"),
    "of a trust domain that begins alike": (
        lambda root, name: leaf(root, moved(name, "*.evil")),
        "SAN_matcher",
    ),
    "without a name": (lambda root, _: leaf(root), "SAN_matcher"),
    "expired": (lambda root, name: leaf(root, name, start=-Delta(hours=2), life=Delta(hours=1)), "expired"),
    "not yet valid": (lambda root, name: leaf(root, name, start=Delta(hours=1)), "not_yet_valid"),
    "of an intermediate that is no authority": (
        lambda root, name: leaf(authority("none", root, is_authority=False), name),
        "unable_to_get_local_issuer",
    ),
    "of an authority below one that may have none": (below, "path_length"),
    "of an authority, for signing only": (lambda root, name: leaf(root, name, is_authority=True), "KEY_USAGE_BIT_INCORRECT"),
    "with a zero byte in its name": (lambda root, name: leaf(root, f"spiffe://evil.example/\0{name}"), "SAN_matcher"),
}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        yield Mesh(made)


@pytest.fixture(scope="module")
def rogue(mesh: Mesh) -> Rogue:
    made = Rogue(mesh.rig.pod("rogue", envoy=False))
    made.serve(HTTP, TCP)
    mesh.rig.apply(service("rogue", [ROGUE_VIP], {80: ("http", HTTP), 84: ("tcp", TCP)}))
    return made


def failure(pod: RigPod, before: int, reason: str, key: str = "tf") -> dict[str, Any]:
    """The record of a refusal for one of the reasons (`a|b`)."""
    words = reason.replace(".", "_").split("|")

    def matching() -> list[dict[str, Any]]:
        said = [(r, str(r.get(key, "")).replace(" ", "_").replace("-", "_")) for r in pod.records()[before:]]
        return [r for r, text in said if any(word.lower() in text.lower() for word in words)]

    return eventually(matching)[0]


# -- a caller ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [HTTP, TCP])
@pytest.mark.parametrize("what", FORGERIES)
def test_a_caller_whose_certificate_is_wrong_reaches_no_program(mesh: Mesh, what: str, port: int) -> None:
    forge, reason = FORGERIES[what]
    before, records = len(mesh.connections), len(mesh.web.records())
    certificate = forge(root_of(mesh.rig.authority), CLIENT)
    assert answered(mesh.outside.connect(mesh.web.addresses[0], port), context(False, certificate)) == b""
    record = failure(mesh.web, records, reason)
    assert (record["k"], record["la"]) == ("l", f"{mesh.web.addresses[0]}:{port}")
    assert len(mesh.connections) == before


def test_a_caller_without_a_certificate_reaches_no_program(mesh: Mesh) -> None:
    before, records = len(mesh.connections), len(mesh.web.records())
    assert answered(mesh.outside.connect(mesh.web.addresses[0], HTTP), context(False, None)) == b""
    failure(mesh.web, records, "PEER_DID_NOT_RETURN_A_CERTIFICATE")
    assert len(mesh.connections) == before


def test_a_callers_certificate_that_is_for_servers_only_is_refused(mesh: Mesh) -> None:
    before, records = len(mesh.connections), len(mesh.web.records())
    certificate = leaf(root_of(mesh.rig.authority), CLIENT, usages=[Oid.SERVER_AUTH])
    assert answered(mesh.outside.connect(mesh.web.addresses[0], HTTP), context(False, certificate)) == b""
    failure(mesh.web, records, "certificate_purpose|unsuitable")
    assert len(mesh.connections) == before


@pytest.mark.parametrize("names", [(CLIENT, WEB), ("spiffe://evil.example/ns/shop/sa/x", CLIENT), (CLIENT, CLIENT)])
def test_a_caller_with_two_names_is_nobody(mesh: Mesh, names: tuple[str, ...]) -> None:
    before, records = len(mesh.connections), len(mesh.web.records())
    certificate = leaf(root_of(mesh.rig.authority), *names)
    assert answered(mesh.outside.connect(mesh.web.addresses[0], HTTP), context(False, certificate)) == b""
    record = failure(mesh.web, records, "several_identities", "x")
    assert record["pi"] == ",".join(names)
    assert len(mesh.connections) == before


@pytest.mark.parametrize("say", [b"hello", b""])
def test_a_caller_with_two_names_is_not_greeted_by_a_server_that_speaks_first(mesh: Mesh, say: bytes) -> None:
    before, records = len(mesh.connections), len(mesh.web.records())
    certificate = leaf(root_of(mesh.rig.authority), CLIENT, WEB)
    assert answered(mesh.outside.connect(mesh.web.addresses[0], TCP), context(False, certificate), say) == b""
    failure(mesh.web, records, "several_identities", "q")
    assert len(mesh.connections) == before


@pytest.mark.parametrize("name", ["spiffe://cluster.local", "spiffe://cluster.local.", "spiffe://CLUSTER.LOCAL/ns/shop/sa/client"])
def test_a_name_of_an_authority_or_another_spelling_of_a_name_is_no_callers(mesh: Mesh, name: str) -> None:
    before, records = len(mesh.connections), len(mesh.web.records())
    certificate = leaf(root_of(mesh.rig.authority), name)
    assert answered(mesh.outside.connect(mesh.web.addresses[0], HTTP), context(False, certificate)) == b""
    failure(mesh.web, records, "SAN_matcher")
    assert len(mesh.connections) == before


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_a_caller_that_offers_old_versions_only_is_refused(mesh: Mesh, newest: ssl.TLSVersion) -> None:
    before, records = len(mesh.connections), len(mesh.web.records())
    certificate = leaf(root_of(mesh.rig.authority), CLIENT)
    assert answered(mesh.outside.connect(mesh.web.addresses[0], HTTP), context(False, certificate, newest)) == b""
    failure(mesh.web, records, "UNSUPPORTED_PROTOCOL")
    assert len(mesh.connections) == before


def test_a_session_cannot_be_resumed_when_its_certificate_has_expired(mesh: Mesh) -> None:
    certificate = leaf(root_of(mesh.rig.authority), CLIENT, life=Delta(seconds=62))  # it began a minute ago
    tls = context(False, certificate)
    with shaken(mesh.outside.connect(mesh.web.addresses[0], HTTP), tls) as wrapped:
        assert wrapped is not None
        wrapped.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        assert wrapped.recv(4096).startswith(b"HTTP/1.1 200")
        session = wrapped.session
        assert session is None or not session.has_ticket
    expired = certificate.certificate.not_valid_after_utc
    eventually(lambda: datetime.datetime.now(datetime.UTC) > expired)
    before, records = len(mesh.connections), len(mesh.web.records())
    with shaken(mesh.outside.connect(mesh.web.addresses[0], HTTP), tls, session) as wrapped, suppress(OSError):
        if wrapped is not None:
            wrapped.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            assert wrapped.recv(4096) == b""
            assert not wrapped.session_reused
    failure(mesh.web, records, "expired")
    assert len(mesh.connections) == before


def test_a_connection_of_bytes_ends_soon_after_its_callers_certificate(mesh: Mesh) -> None:
    root, address = root_of(mesh.rig.authority), mesh.web.addresses[0]
    short, long = leaf(root, CLIENT, life=Delta(seconds=70)), leaf(root, CLIENT, life=Delta(minutes=5))  # they began a minute ago
    with (
        shaken(mesh.outside.connect(address, TCP, timeout=60), context(False, short)) as ending,
        shaken(mesh.outside.connect(address, TCP, timeout=60), context(False, long)) as lasting,
    ):
        assert ending is not None
        assert lasting is not None
        assert (ending.recv(100), lasting.recv(100)) == (b"welcome\n", b"welcome\n")
        assert ending.recv(100) == b""
        assert datetime.datetime.now(datetime.UTC) > short.certificate.not_valid_after_utc
        lasting.sendall(b"still here")
        assert lasting.recv(100) == b"heard still here"


# -- a server ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", FORGERIES)
def test_a_server_whose_certificate_is_wrong_is_sent_nothing(mesh: Mesh, rogue: Rogue, what: str) -> None:
    forge, reason = FORGERIES[what]
    rogue.shown, rogue.newest = forge(root_of(mesh.rig.authority), ROGUE), None
    _is_sent_nothing(mesh, rogue, reason)


def test_a_servers_certificate_for_another_service_is_not_enough(mesh: Mesh, rogue: Rogue) -> None:
    rogue.shown, rogue.newest = leaf(root_of(mesh.rig.authority), WEB), None
    _is_sent_nothing(mesh, rogue, "SAN_matcher")


def test_a_servers_certificate_that_is_for_clients_only_is_refused(mesh: Mesh, rogue: Rogue) -> None:
    rogue.shown, rogue.newest = leaf(root_of(mesh.rig.authority), ROGUE, usages=[Oid.CLIENT_AUTH]), None
    _is_sent_nothing(mesh, rogue, "certificate_purpose|unsuitable")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_a_server_that_speaks_old_versions_only_is_sent_nothing(mesh: Mesh, rogue: Rogue, newest: ssl.TLSVersion) -> None:
    rogue.shown, rogue.newest = leaf(root_of(mesh.rig.authority), ROGUE), newest
    _is_sent_nothing(mesh, rogue, "PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL")


def test_a_server_is_never_offered_a_session_again(mesh: Mesh, rogue: Rogue) -> None:
    rogue.shown, rogue.newest = leaf(root_of(mesh.rig.authority), ROGUE), None
    first = len(rogue.hellos)
    for _ in range(3):
        assert converse(mesh.client.connect(ROGUE_VIP, 84), b"hello") == b"heard hello"
    assert [offers_resumption(hello) for hello in rogue.hellos[first:]] == [False, False, False]


def _is_sent_nothing(mesh: Mesh, rogue: Rogue, reason: str) -> None:
    heard, records = len(rogue.seen), len(mesh.client.records())
    assert mesh.client.request(ROGUE_VIP, 80, host="rogue").status == 503
    assert failure(mesh.client, records, reason, "x")["c"] == "outbound|80||rogue.shop.svc.cluster.local"
    assert converse(mesh.client.connect(ROGUE_VIP, 84), b"secret") in (b"", b"<reset>")
    assert failure(mesh.client, records, reason, "ut")["c"] == "outbound|84||rogue.shop.svc.cluster.local"
    assert len(rogue.seen) == heard


# -- an authority of another trust domain ------------------------------------------------------------------------------

PARTNER = "partner.example"


@pytest.fixture(scope="module")
def federated() -> Iterator[Mesh]:
    with rig(MeshSettings(foreign_trust_domains=(PARTNER,))) as made:
        yield Mesh(made)


@pytest.fixture(scope="module")
def partner(federated: Mesh) -> Certified:
    """An authority that is believed for names of its own trust domain."""
    made = authority(PARTNER)
    own = x509.load_pem_x509_certificate(federated.rig.authority.root)
    foreign = ForeignBundle(trust_domain=PARTNER, x509_authorities=(made.certificate,))
    trust = Trust(sequence=1, trust_domain="cluster.local", x509_authorities=(own,), federated=(foreign,))
    told = {each.name: each for each in (encode_trust(trust), encode_own_trust(trust))}
    for pod in (federated.client, federated.other, federated.web):
        pod.certificates = tuple(told.get(each.name, each) for each in pod.certificates)
    federated.rig.push()
    return made


@pytest.mark.parametrize("what", FORGERIES)
def test_a_wrong_certificate_reaches_no_program_where_another_domain_is_believed_either(
    federated: Mesh, partner: Certified, what: str
) -> None:
    forge, _ = FORGERIES[what]
    before = len(federated.connections)
    for signer, name in ((root_of(federated.rig.authority), CLIENT), (partner, f"spiffe://{PARTNER}/ns/shop/sa/x")):
        for port, say in ((HTTP, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"), (TCP, b"")):
            assert answered(federated.outside.connect(federated.web.addresses[0], port), context(False, forge(signer, name)), say) == b""
    assert len(federated.connections) == before


def test_what_a_callers_certificate_is_for_is_not_looked_at_where_another_domain_is_believed(federated: Mesh, partner: Certified) -> None:
    # Envoy's validator of several trust domains does not, and nothing behind it can: docs/reference/tls.md says so.
    for signer, name in ((root_of(federated.rig.authority), CLIENT), (partner, f"spiffe://{PARTNER}/ns/shop/sa/x")):
        tls = context(False, leaf(signer, name, usages=[Oid.SERVER_AUTH]))
        assert answered(federated.outside.connect(federated.web.addresses[0], HTTP), tls).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("account", ["client", "web"])
def test_a_federated_caller_is_believed_for_its_own_name_and_no_other(federated: Mesh, partner: Certified, account: str) -> None:
    name, ours = f"spiffe://{PARTNER}/ns/shop/sa/{account}", f"spiffe://cluster.local/ns/shop/sa/{account}"
    address = federated.web.addresses[0]
    assert answered(federated.outside.connect(address, HTTP), context(False, leaf(partner, name))).startswith(b"HTTP/1.1 200")
    before = len(federated.connections)
    for names, key, reason in (
        ((ours,), "tf", "unable_to_get"),
        ((name, ours), "x", "several_identities"),
        ((ours, name), "tf", "unable_to_get"),
    ):
        records = len(federated.web.records())
        assert answered(federated.outside.connect(address, HTTP), context(False, leaf(partner, *names))) == b""
        failure(federated.web, records, reason, key)
    assert len(federated.connections) == before


def test_two_names_by_another_authority_pass_no_policy_of_requests_or_connections(federated: Mesh, partner: Certified) -> None:
    thief = context(False, leaf(partner, f"spiffe://{PARTNER}/ns/shop/sa/x", CLIENT))
    with federated.having(policy("client", "ALLOW", caller("client"))):
        before = len(federated.connections)
        for port, say in ((HTTP, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"), (TCP, b"hello"), (TCP, b"")):
            assert answered(federated.outside.connect(federated.web.addresses[0], port), thief, say) == b""
        assert len(federated.connections) == before


def test_another_authority_certifies_no_service_of_ours(federated: Mesh, partner: Certified) -> None:
    web, kept = federated.web, federated.web.certificates
    ours = leaf(partner, f"spiffe://{PARTNER}/ns/shop/sa/web", WEB)
    names = {each.name for each in shown(ours.chain_pem, ours.key_pem)}
    web.certificates = (*(each for each in kept if each.name not in names), *shown(ours.chain_pem, ours.key_pem))
    try:
        federated.rig.push()
        records = len(federated.other.records())
        assert federated.other.request(VIP, 80, host="web").status == 503
        failure(federated.other, records, "unable_to_get", "x")
    finally:
        web.certificates = kept
        federated.rig.push()
