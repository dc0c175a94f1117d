"""Whose connections end by a revocation: those of who held it, on both sides, and nobody else's."""

from hauberk.agent.revocation_sweep import Sentence, charges, condemnation, sentence_of
from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.trust import Revoked
from hauberk.linux.socket_destroy import Connection

DOMAIN = "cluster.local"
WEB = "spiffe://cluster.local/ns/shop/sa/web"
SERIAL = "a" * 32
INBOUND = 15006


def pod(name: str, number: int, account: str = "web") -> PodRef:
    addresses = (f"10.244.0.{number}", f"fd00:10:244::{number:x}")
    return PodRef(uid=f"u-{name}", namespace="shop", name=name, service_account=account, network=f"u-{name}", addresses=addresses)


A, B, C = PODS = (pod("a", 2), pod("b", 3), pod("c", 4, "orders"))
BARE = pod("bare", 5, "tool")  # without a sidecar
OUTSIDER = "10.244.0.99"


def sentenced(revoked: Revoked, dealt_with: frozenset[str] = frozenset()) -> Sentence:
    return sentence_of(revoked, dealt_with, PODS, DOMAIN)


def ends(at: PodRef, sentence: Sentence, remote: str, *, local_port: int = 40000) -> bool:
    return condemnation(at, PODS, (BARE,), sentence)(Connection(at.addresses[0], local_port, remote, 8080))


def test_a_revoked_pod_is_sentenced_by_its_uid_and_nobody_else() -> None:
    assert sentenced(Revoked(pods=frozenset({A.uid}))) == Sentence(frozenset({A.uid}))


def test_a_certificate_sentences_the_pod_that_held_it() -> None:
    assert sentenced(Revoked(serials=frozenset({SERIAL}), holders=frozenset({(SERIAL, B.uid)}))) == Sentence(frozenset({B.uid}))


def test_a_certificate_that_no_pod_held_sentences_whoever_is_outside() -> None:
    assert sentenced(Revoked(serials=frozenset({SERIAL}), holders=frozenset({(SERIAL, "")}))) == Sentence(outside=True)
    assert sentenced(Revoked(serials=frozenset({SERIAL}))) == Sentence(outside=True)


def test_an_identity_sentences_every_pod_that_has_it() -> None:
    assert sentenced(Revoked(identities=frozenset({WEB}))) == Sentence(frozenset({A.uid, B.uid}))


def test_an_identity_of_another_trust_domain_is_outside_even_if_its_path_is_a_pods() -> None:
    assert sentenced(Revoked(identities=frozenset({"spiffe://partner.example/ns/shop/sa/web"}))) == Sentence(outside=True)


def test_what_was_dealt_with_sentences_nobody_again() -> None:
    old = Revoked(pods=frozenset({A.uid}), serials=frozenset({SERIAL}), holders=frozenset({(SERIAL, A.uid)}))
    assert not sentenced(old, charges(old))
    assert sentenced(Revoked(pods=frozenset({A.uid, C.uid})), charges(old)) == Sentence(frozenset({C.uid}))


def test_connections_with_a_sentenced_pod_end_at_both_ends_in_both_directions() -> None:
    sentence = Sentence(frozenset({A.uid}))
    for address in A.addresses:
        assert ends(B, sentence, address), "it calls, or is called"
        assert ends(B, sentence, address, local_port=INBOUND)
    assert ends(A, sentence, B.addresses[0])
    assert ends(A, sentence, OUTSIDER, local_port=INBOUND), "from wherever it is called"


def test_connections_between_others_live() -> None:
    sentence = Sentence(frozenset({A.uid}))
    assert not ends(B, sentence, C.addresses[0])
    assert not ends(C, sentence, B.addresses[1], local_port=INBOUND)
    assert not ends(B, sentence, OUTSIDER, local_port=INBOUND)


def test_what_a_sentenced_pod_has_with_itself_and_with_the_world_lives() -> None:
    sentence = Sentence(frozenset({A.uid}))
    for own in ("127.0.0.1", "::1", *A.addresses):
        assert not ends(A, sentence, own, local_port=INBOUND)
    assert not ends(A, sentence, "203.0.113.7")


def test_a_sentenced_pod_without_a_sidecar_is_known_by_its_address() -> None:
    sentence = Sentence(frozenset({BARE.uid}))
    assert ends(A, sentence, BARE.addresses[0], local_port=INBOUND)
    assert ends(BARE, sentence, A.addresses[0])
    assert not ends(A, sentence, B.addresses[0], local_port=INBOUND)


def test_a_pod_without_a_sidecar_may_hold_what_was_given_to_somebody_outside() -> None:
    assert ends(A, Sentence(outside=True), BARE.addresses[0], local_port=INBOUND)


def test_whoever_calls_from_outside_is_ended_and_no_pod_is() -> None:
    sentence = Sentence(outside=True)
    assert ends(A, sentence, OUTSIDER, local_port=INBOUND)
    assert not ends(A, sentence, B.addresses[0], local_port=INBOUND)
    assert not ends(A, sentence, OUTSIDER), "what the pod itself called is no caller"
