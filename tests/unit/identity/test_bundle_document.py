"""SPIFFE's bundle format, rule by rule (numbers as in the specification's list of requirements: 16, 20 to 24)."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.identity.conftest import NOW, Authorities

from hauberk.identity.bundle_document import MAX_BYTES, MAX_SEQUENCE, InvalidBundle, ParsedBundle, encode_bundle, parse_bundle
from hauberk.identity.jwk_key import encode_public_key
from hauberk.identity.trust import ForeignBundle, JwtKey

TD = "b.td"
P256 = encode_public_key(ec.derive_private_key(7, ec.SECP256R1()).public_key())
JWT = JwtKey(key_id="k1", jwk=json.dumps({"use": "jwt-svid", "kid": "k1", **P256}, sort_keys=True, separators=(",", ":")))


def parse(*keys: object, **members: object) -> ParsedBundle:
    return parse_bundle(json.dumps({"keys": list(keys), **members}).encode(), TD)


def entry(authorities: Authorities, **changes: object) -> dict[str, Any]:
    """A good entry for X509-SVIDs with `changes`; None leaves a member out."""
    der = base64.b64encode(authorities.root.public_bytes(Encoding.DER)).decode()
    key = authorities.root_key.public_key()
    return {k: v for k, v in {**encode_public_key(key), "use": "x509-svid", "x5c": [der], **changes}.items() if v is not None}


def test_a_bundle_is_read_as_it_was_written(authorities: Authorities) -> None:
    bundle = ForeignBundle(
        trust_domain=TD,
        x509_authorities=(authorities.root, authorities.issuing),
        jwt_keys=(JWT,),
        sequence=MAX_SEQUENCE,
        refresh_hint=timedelta(seconds=77),
    )
    assert parse_bundle(encode_bundle(bundle), TD) == ParsedBundle(bundle, has_sequence=True)


def test_16_an_x509_entry_has_no_kid_and_exactly_one_certificate(authorities: Authorities) -> None:
    document = json.loads(encode_bundle(ForeignBundle(trust_domain=TD, x509_authorities=(authorities.root,))))
    (written,) = document["keys"]
    assert written.keys() == {"kty", "crv", "x", "y", "use", "x5c"}
    assert written["use"] == "x509-svid"
    assert len(written["x5c"]) == 1


def test_16_an_entry_without_x5c_is_ignored_and_only_the_first_certificate_counts(authorities: Authorities) -> None:
    second = base64.b64encode(authorities.issuing.public_bytes(Encoding.DER)).decode()
    good = entry(authorities)
    found = parse(entry(authorities, x5c=None), entry(authorities, x5c=[*good["x5c"], second]))
    assert found.bundle.x509_authorities == (authorities.root,)
    assert found.ignored == ("keys[0]: it is for X509-SVIDs and has no x5c",)


def test_20_jwt_keys_need_a_kid_and_are_kept_apart_by_use(authorities: Authorities) -> None:
    found = parse(entry(authorities), {**P256, "use": "jwt-svid", "kid": "k1"}).bundle
    assert (found.x509_authorities, found.jwt_keys) == ((authorities.root,), (JWT,))
    with pytest.raises(InvalidBundle, match=r"keys\[1\].*no kid"):
        parse(entry(authorities), {**P256, "use": "jwt-svid"})


def test_21_unknown_members_anywhere_change_nothing(authorities: Authorities) -> None:
    assert parse(entry(authorities, later=1), newer={"a": 1}).bundle == parse(entry(authorities)).bundle


def test_22_sequence_and_hint_have_64_bits_and_whole_seconds() -> None:
    found = parse(spiffe_sequence=MAX_SEQUENCE, spiffe_refresh_hint=7)
    assert (found.bundle.sequence, found.has_sequence, found.bundle.refresh_hint) == (MAX_SEQUENCE, True, timedelta(seconds=7))
    without = parse()
    assert (without.has_sequence, without.bundle.refresh_hint) == (False, timedelta(minutes=5))


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "7", [7], MAX_SEQUENCE + 1])
@pytest.mark.parametrize("name", ["spiffe_sequence", "spiffe_refresh_hint"])
def test_22_other_numbers_are_refused(name: str, wrong: object) -> None:
    with pytest.raises(InvalidBundle, match=name):
        parse(**{name: wrong})


def test_23_keys_must_be_there_and_none_means_that_all_are_revoked() -> None:
    assert parse().bundle.x509_authorities == ()
    with pytest.raises(InvalidBundle, match="keys"):
        parse_bundle(b"{}", TD)


def test_23_a_document_whose_keys_are_all_unusable_is_an_empty_bundle() -> None:
    found = parse({"kty": "PQ", "use": "x509-svid"})
    assert found.bundle == ForeignBundle(trust_domain=TD)
    assert found.ignored


@pytest.mark.parametrize(
    "changes",
    [{"kty": None}, {"kty": "AKP"}, {"kty": 5}, {"kty": ["EC"]}, {"use": None}, {"use": "wit-svid"}, {"use": ["x509-svid"]}],
)
def test_24_a_key_of_unknown_type_or_use_is_ignored_and_named(authorities: Authorities, changes: dict[str, object]) -> None:
    found = parse(entry(authorities, **changes), entry(authorities))
    assert found.bundle.x509_authorities == (authorities.root,)
    assert found.ignored[0].startswith("keys[0]: its ")


def test_a_jwt_key_on_an_unknown_curve_is_ignored() -> None:
    assert parse({**P256, "crv": "secp256k1", "use": "jwt-svid", "kid": "a"}).ignored


def leaf_of(authorities: Authorities) -> str:
    return base64.b64encode(authorities.leaf().public_bytes(Encoding.DER)).decode()


def test_one_broken_certificate_among_good_ones_refuses_the_document_and_is_named(authorities: Authorities) -> None:
    good = entry(authorities)
    truncated = base64.b64encode(authorities.root.public_bytes(Encoding.DER)[:-9]).decode()
    for broken in (truncated, "%%%", "", leaf_of(authorities)):
        with pytest.raises(InvalidBundle, match=r"keys\[1\] \(x509-svid\)"):
            parse(good, {**P256, "use": "x509-svid", "x5c": [broken]}, good)


@pytest.mark.parametrize("x5c", [[], "text", [5], None, {}])
def test_an_x5c_that_is_no_list_of_certificates_is_refused(authorities: Authorities, x5c: object) -> None:
    with pytest.raises(InvalidBundle, match=r"keys\[0\]"):
        parse({**entry(authorities), "x5c": x5c})


def test_members_and_certificate_are_one_key(authorities: Authorities) -> None:
    with pytest.raises(InvalidBundle, match="another key"):
        parse(entry(authorities, **P256))
    assert parse(entry(authorities, x=None, y=None)).bundle.x509_authorities == (authorities.root,)


def test_a_private_key_in_a_bundle_is_refused_and_not_repeated(authorities: Authorities) -> None:
    with pytest.raises(InvalidBundle, match="private key") as refused:
        parse(entry(authorities, d="the-secret"))
    assert "the-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"nonsense", b"\xff\xfe", b'{"keys": [1]}', b'{"keys": NaN}', b"[" * 100_000),
        *(
            b'{"keys": [], "keys": []}',
            b'{"keys": "x"}',
            b'{"keys": []} trailing',
            b'{"spiffe_sequence": ' + b"9" * 5000 + b', "keys": []}',
        ),
        b'{"keys": [], "x": "' + b"x" * MAX_BYTES + b'"}',
        b'{"keys": [' + b",".join([b'{"kty":"EC"}'] * 600) + b"]}",
    ],
)
def test_what_is_no_bundle_is_refused_with_its_reason(data: bytes) -> None:
    with pytest.raises(InvalidBundle):
        parse_bundle(data, TD)


def test_two_different_keys_of_one_kid_are_refused() -> None:
    other = encode_public_key(ec.derive_private_key(8, ec.SECP256R1()).public_key())
    same = {**P256, "use": "jwt-svid", "kid": "k1"}
    assert len(parse(same, same).bundle.jwt_keys) == 1
    with pytest.raises(InvalidBundle, match="same kid"):
        parse(same, {**same, **other})


@settings(max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)))
def test_whatever_stands_in_keys_is_read_or_refused_and_never_fails(value: object) -> None:
    for document in (value, {"keys": value}, {"keys": [{"kty": "EC", "use": "x509-svid", "x5c": value}]}):
        try:
            parse_bundle(json.dumps(document).encode(), TD)
        except InvalidBundle as refused:
            assert str(refused)


def authority_with(key: CertificateIssuerPrivateKeyTypes, *extensions: x509.ExtensionType) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=1))
    usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    sign = x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    for extension in (x509.BasicConstraints(True, None), sign, *extensions):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256())


def x5c(der: bytes) -> dict[str, object]:
    return {"kty": "EC", "use": "x509-svid", "x5c": [base64.b64encode(der).decode()]}


def test_an_authority_whose_key_no_proxy_would_load_refuses_the_document() -> None:
    for key in (ed448.Ed448PrivateKey.generate(), rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP224R1())):
        with pytest.raises(InvalidBundle, match="kind or size"):
            parse(x5c(authority_with(key).public_bytes(Encoding.DER)))


def test_a_certificate_that_says_something_twice_is_refused_and_does_no_more_harm() -> None:
    twice = [x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{last}"), b"\x05\x00") for last in (4, 5)]
    made = authority_with(ec.generate_private_key(ec.SECP256R1()), *twice).public_bytes(Encoding.DER)
    with pytest.raises(InvalidBundle, match="basic constraints or key usage"):
        parse(x5c(made.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")))
