"""A casting is byte for byte what the library's builder would have made."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store
from tests.unit.identity.conftest import NOW, Authorities

from hauberk.identity.leaf_mould import LeafMould, NoMould
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import PublicKey, build_leaf, build_root

CHANCE = random.Random(7)


def built(
    authorities: Authorities, key: PublicKey, serial: int, now: datetime = NOW, life: timedelta = timedelta(hours=1), *dns: str
) -> x509.Certificate:
    template = build_leaf(
        spiffe_id=SpiffeId("cluster.local", "/ns/shop/sa/web"),
        public_key=key,
        issuer=authorities.issuing,
        serial=serial,
        now=now,
        lifetime=life,
        dns_names=dns,
    )
    return template.sign(authorities.issuing_key, hashes.SHA256())


def some_serial() -> int:
    return 1 << 127 | CHANCE.getrandbits(127)


def jws(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
@pytest.mark.parametrize("dns", [(), ("web.shop.svc", "web")])
def test_every_casting_is_what_the_builder_makes(authorities: Authorities, curve: ec.EllipticCurve, dns: tuple[str, ...]) -> None:
    first = built(authorities, ec.generate_private_key(curve).public_key(), some_serial(), NOW, timedelta(hours=1), *dns)
    mould = LeafMould.of(first)
    for _ in range(100):
        key, serial = ec.generate_private_key(curve).public_key(), some_serial()
        now, life = NOW + timedelta(seconds=CHANCE.randrange(10**6)), timedelta(seconds=CHANCE.randrange(2, 10**6))
        expected = built(authorities, key, serial, now, life, *dns)
        cast = mould.cast(serial, expected.not_valid_before_utc, expected.not_valid_after_utc, key)
        assert cast == expected.tbs_certificate_bytes
        assert mould.seal(cast, jws(expected.signature)) == expected.public_bytes(Encoding.DER)


def test_a_sealed_casting_is_a_certificate_that_a_validator_accepts(authorities: Authorities) -> None:
    mould = LeafMould.of(built(authorities, ec.generate_private_key(ec.SECP256R1()).public_key(), some_serial()))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    tbs = mould.cast(some_serial(), NOW, NOW + timedelta(hours=2), key)
    der = mould.seal(tbs, jws(authorities.issuing_key.sign(tbs, ec.ECDSA(hashes.SHA256()))))
    leaf = x509.load_der_x509_certificate(der)
    verifier = PolicyBuilder().store(Store([authorities.root])).time(NOW).build_client_verifier()
    assert verifier.verify(leaf, [authorities.issuing]).chain[0].public_key() == key


def test_signatures_of_any_length_are_sealed(authorities: Authorities) -> None:
    """Numbers of a signature that begin with zeros are shorter; one in a few hundred is."""
    mould = LeafMould.of(built(authorities, ec.generate_private_key(ec.SECP256R1()).public_key(), some_serial()))
    tbs = mould.cast(some_serial(), NOW, NOW + timedelta(hours=2), ec.generate_private_key(ec.SECP256R1()).public_key())
    for signature in (b"\x00" * 31 + b"\x01" + b"\xff" * 32, b"\x00" * 31 + b"\x01" + b"\x00" * 31 + b"\x7f"):
        leaf = x509.load_der_x509_certificate(mould.seal(tbs, signature))
        assert decode_dss_signature(leaf.signature) == (int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))


def test_keys_that_differ_in_length_have_no_mould(authorities: Authorities) -> None:
    with pytest.raises(NoMould):
        LeafMould.of(built(authorities, rsa.generate_private_key(65537, 2048).public_key(), some_serial()))


def test_times_of_another_form_and_shorter_serials_have_no_mould(authorities: Authorities) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    mould = LeafMould.of(built(authorities, key, some_serial()))
    with pytest.raises(NoMould):
        mould.cast(some_serial(), NOW, datetime(2050, 1, 1, tzinfo=UTC), key)
    with pytest.raises(NoMould):
        mould.cast(5, NOW, NOW, key)


def test_an_issuer_with_an_rsa_key_has_moulds_too() -> None:
    key = rsa.generate_private_key(65537, 2048)
    root = build_root(
        trust_domain="cluster.local", public_key=key.public_key(), serial=some_serial(), now=NOW, lifetime=timedelta(days=9)
    ).sign(key, hashes.SHA256())

    def made(serial: int, public: PublicKey) -> x509.Certificate:
        spiffe_id = SpiffeId("cluster.local", "/x")
        life = timedelta(hours=1)
        return build_leaf(spiffe_id=spiffe_id, public_key=public, issuer=root, serial=serial, now=NOW, lifetime=life).sign(
            key, hashes.SHA256()
        )

    mould = LeafMould.of(made(some_serial(), ec.generate_private_key(ec.SECP256R1()).public_key()))
    serial, public = some_serial(), ec.generate_private_key(ec.SECP256R1()).public_key()
    expected = made(serial, public)
    cast = mould.cast(serial, expected.not_valid_before_utc, expected.not_valid_after_utc, public)
    assert mould.seal(cast, expected.signature) == expected.public_bytes(Encoding.DER)
