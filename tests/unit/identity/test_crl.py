"""Revocation lists: what they say, and who may sign them."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.identity.crl import RevokedCertificate, build_crl, can_sign_crls
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_issuing, build_leaf, build_root

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SERIALS = ("b" * 32, "a" * 32)


def issuing() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    year = timedelta(days=365)
    root = build_root(trust_domain="cluster.local", public_key=key.public_key(), serial=1, now=NOW, lifetime=year).sign(
        key, hashes.SHA256()
    )
    template = build_issuing(trust_domain="cluster.local", public_key=key.public_key(), root=root, serial=2, now=NOW, lifetime=year)
    return template.sign(key, hashes.SHA256()), key


def listed(*serials: str, number: int = 7) -> tuple[x509.CertificateRevocationList, x509.Certificate]:
    issuer, key = issuing()
    revoked = [RevokedCertificate(serial=serial, since=NOW) for serial in serials]
    return build_crl(issuer, revoked, number).sign(key, hashes.SHA256()), issuer


def test_a_list_names_its_issuer_its_number_and_every_certificate() -> None:
    crl, issuer = listed(*SERIALS)
    assert crl.issuer == issuer.subject
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert {f"{each.serial_number:032x}": each.revocation_date_utc for each in crl} == dict.fromkeys(SERIALS, NOW)


def test_the_order_in_which_certificates_are_given_makes_no_difference() -> None:
    forth, back = listed(*SERIALS)[0], listed(*reversed(SERIALS))[0]
    assert [each.serial_number for each in forth] == [each.serial_number for each in back]


def test_a_list_without_entries_is_a_list() -> None:
    assert len(listed()[0]) == 0


def test_a_list_ends_with_its_issuer_and_begins_with_it() -> None:
    crl, issuer = listed(SERIALS[0])
    assert (crl.last_update_utc, crl.next_update_utc) == (issuer.not_valid_before_utc, issuer.not_valid_after_utc)


def test_it_does_not_say_why_to_every_peer() -> None:
    crl, _ = listed(SERIALS[0])
    assert [list(each.extensions) for each in crl] == [[]]


def test_an_issuing_authority_may_sign_lists_and_a_leaf_may_not() -> None:
    issuer, key = issuing()
    name = SpiffeId("cluster.local", "/ns/shop/sa/web")
    template = build_leaf(spiffe_id=name, public_key=key.public_key(), issuer=issuer, serial=3, now=NOW, lifetime=timedelta(hours=1))
    assert can_sign_crls(issuer)
    assert not can_sign_crls(template.sign(key, hashes.SHA256()))
