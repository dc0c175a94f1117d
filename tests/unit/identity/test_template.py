"""Certificates have exactly what the X509-SVID standard demands; numbers are those of its rules."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store
from tests.unit.identity.conftest import NOW, SERIAL, Authorities

from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import InvalidTemplate, build_leaf


def extension(certificate: x509.Certificate, kind: type[Any]) -> tuple[bool, Any]:
    found = certificate.extensions.get_extension_for_class(kind)
    return found.critical, found.value


def test_rule_7_the_authority_names_its_trust_domain_and_no_path(authorities: Authorities) -> None:
    for certificate in (authorities.root, authorities.issuing):
        _, names = extension(certificate, x509.SubjectAlternativeName)
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local"]


def test_rule_9_a_leaf_has_exactly_one_uri_name(authorities: Authorities) -> None:
    _, names = extension(authorities.leaf(), x509.SubjectAlternativeName)
    assert [name.value for name in names] == ["spiffe://cluster.local/ns/shop/sa/web"]


def test_rule_10_the_uri_name_is_not_critical_because_the_subject_is_not_empty(authorities: Authorities) -> None:
    leaf = authorities.leaf()
    assert leaf.subject.rdns
    assert extension(leaf, x509.SubjectAlternativeName)[0] is False


def test_rule_10_a_leaf_for_the_trust_domain_itself_is_refused(authorities: Authorities) -> None:
    with pytest.raises(InvalidTemplate, match="names a workload"):
        authorities.leaf("spiffe://cluster.local")


def test_rule_11_only_authorities_sign_and_the_issuing_one_has_no_authority_below_it(authorities: Authorities) -> None:
    for certificate, length in ((authorities.root, 1), (authorities.issuing, 0)):
        critical, constraints = extension(certificate, x509.BasicConstraints)
        assert (critical, constraints.ca, constraints.path_length) == (True, True, length)
        assert extension(certificate, x509.KeyUsage)[1].key_cert_sign


def test_rules_12_and_13_a_leaf_signs_messages_only_and_says_so_critically(authorities: Authorities) -> None:
    leaf = authorities.leaf()
    critical, constraints = extension(leaf, x509.BasicConstraints)
    assert (critical, constraints.ca) == (True, False)
    critical, usage = extension(leaf, x509.KeyUsage)
    assert critical
    assert usage.digital_signature
    assert not any((usage.key_cert_sign, usage.crl_sign, usage.key_encipherment, usage.content_commitment, usage.key_agreement))


def test_rule_14_a_leaf_is_both_a_servers_and_a_clients(authorities: Authorities) -> None:
    _, purposes = extension(authorities.leaf(), x509.ExtendedKeyUsage)
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_rule_15_a_standard_validator_accepts_the_chain(authorities: Authorities) -> None:
    verifier = PolicyBuilder().store(Store([authorities.root])).time(NOW).build_client_verifier()
    verified = verifier.verify(authorities.leaf(), [authorities.issuing])
    assert verified.chain[-1] == authorities.root


def test_a_leaf_begins_a_minute_before_now_and_ends_after_its_life(authorities: Authorities) -> None:
    leaf = authorities.leaf(lifetime=timedelta(hours=24))
    assert leaf.not_valid_before_utc == max(NOW - timedelta(minutes=1), authorities.issuing.not_valid_before_utc)
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=24)


def test_a_leaf_of_seconds_is_backdated_by_no_more_than_a_tenth_of_its_life(authorities: Authorities) -> None:
    leaf = authorities.leaf(lifetime=timedelta(seconds=20))
    assert leaf.not_valid_before_utc == NOW - timedelta(seconds=2)


def test_a_leaf_never_outlives_its_issuer(authorities: Authorities) -> None:
    leaf = authorities.leaf(lifetime=timedelta(days=9999))
    assert leaf.not_valid_after_utc == authorities.issuing.not_valid_after_utc
    assert leaf.not_valid_before_utc == authorities.issuing.not_valid_before_utc


@pytest.mark.parametrize("late", [timedelta(days=365), timedelta(days=4000), timedelta(days=-2)])
def test_an_issuer_that_is_not_valid_for_any_of_it_signs_nothing(authorities: Authorities, late: timedelta) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(InvalidTemplate, match="expired"):
        build_leaf(
            spiffe_id=SpiffeId("td", "/x"),
            public_key=key,
            issuer=authorities.issuing,
            serial=1,
            now=NOW + late,
            lifetime=timedelta(hours=1),
        )


@pytest.mark.parametrize("serial", [0, -1, 1 << 128])
def test_a_serial_number_outside_its_range_is_refused(authorities: Authorities, serial: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(InvalidTemplate, match="serial"):
        build_leaf(
            spiffe_id=SpiffeId("td", "/x"), public_key=key, issuer=authorities.issuing, serial=serial, now=NOW, lifetime=timedelta(hours=1)
        )


def test_certificates_point_to_their_issuers_key(authorities: Authorities) -> None:
    for certificate, issuer in ((authorities.leaf(), authorities.issuing), (authorities.issuing, authorities.root)):
        _, pointer = extension(certificate, x509.AuthorityKeyIdentifier)
        assert pointer.key_identifier == extension(issuer, x509.SubjectKeyIdentifier)[1].digest
    assert authorities.leaf().serial_number == SERIAL


def test_dns_names_stand_beside_the_one_uri(authorities: Authorities) -> None:
    template = build_leaf(
        spiffe_id=SpiffeId("cluster.local", "/x"),
        public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
        issuer=authorities.issuing,
        serial=SERIAL,
        now=NOW,
        lifetime=timedelta(hours=1),
        dns_names=("web.shop.svc",),
    )
    _, names = extension(template.sign(authorities.issuing_key, hashes.SHA256()), x509.SubjectAlternativeName)
    assert [name.value for name in names] == ["spiffe://cluster.local/x", "web.shop.svc"]
