"""The first leaf of an identity is built, the next are cast; nobody can tell which is which."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.unit.citadel.rig import NOW, TRUST_DOMAIN, HandClock, opened

from hauberk.citadel.attestation import Attested
from hauberk.citadel.authority import Citadel
from hauberk.citadel.casting import Caster
from hauberk.citadel.serials import next_serial
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import InvalidTemplate, PublicKey


def attested(account: str = "web", *dns_names: str) -> Attested:
    return Attested(spiffe_id=workload_id(TRUST_DOMAIN, "shop", account), holder="pod shop/web u", node="here", dns_names=dns_names)


async def leaf(caster: Caster, citadel: Citadel, who: Attested, key: PublicKey, life: timedelta = timedelta(hours=1)) -> x509.Certificate:
    now, issuing = citadel.ground.clock.now(), citadel.authorities.issuing
    made = await caster.leaf(issuing, who, key, serial=next_serial(), now=now, lifetime=life)
    certificate = x509.load_der_x509_certificate(made.der)
    certificate.verify_directly_issued_by(issuing.certificate)
    assert (made.not_before, made.not_after) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert certificate.public_key() == key
    return certificate


def shape(certificate: x509.Certificate) -> list[object]:
    """All that does not depend on the key."""
    chosen = [each for each in certificate.extensions if not isinstance(each.value, x509.SubjectKeyIdentifier)]
    return [certificate.subject, certificate.issuer, certificate.signature_algorithm_oid, *chosen]


async def test_cast_leaves_are_like_built_ones(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        caster = Caster()
        keys = [ec.generate_private_key(curve).public_key() for curve in (ec.SECP256R1(), ec.SECP384R1()) for _ in range(3)]
        keys_and_rsa: list[PublicKey] = [*keys, rsa.generate_private_key(65537, 2048).public_key()]
        made = [await leaf(caster, citadel, attested(), key) for key in keys_and_rsa]
        assert all(shape(each) == shape(made[0]) for each in made)
        assert len({each.serial_number for each in made}) == len(made)


async def test_each_identity_has_its_own_mould(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        caster, key = Caster(), ec.generate_private_key(ec.SECP256R1()).public_key()
        for _ in range(2):
            for who in (attested(), attested("api"), attested("web", "web.shop.svc")):
                names = (await leaf(caster, citadel, who, key)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                assert [name.value for name in names] == [str(who.spiffe_id), *who.dns_names]


async def test_each_issuer_has_its_own_mould(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        caster, key = Caster(), ec.generate_private_key(ec.SECP256R1()).public_key()
        await leaf(caster, citadel, attested(), key)
        await citadel.rotate("root")
        await leaf(caster, citadel, attested(), key)


async def test_a_cast_life_is_cut_and_refused_like_a_built_one(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        caster, key = Caster(), ec.generate_private_key(ec.SECP256R1()).public_key()
        await leaf(caster, citadel, attested(), key)
        long = await leaf(caster, citadel, attested(), key, timedelta(days=9999))
        assert long.not_valid_after_utc == citadel.authorities.issuing.certificate.not_valid_after_utc
        with pytest.raises(InvalidTemplate):
            await leaf(caster, citadel, attested(), key, timedelta(milliseconds=1))
        clock.pass_by(timedelta(microseconds=123456))
        assert (await leaf(caster, citadel, attested(), key)).not_valid_after_utc == NOW + timedelta(hours=1)
