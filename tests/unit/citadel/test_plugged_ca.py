"""An authority that is plugged in: taken if it is sound, else refused with every reason, each with its place and its remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from tests.unit.citadel.company import NOW, CompanyCa, company_ca

from hauberk.citadel.plugged_ca import CaRefused, Given, Named, PluggedCa, read_plugged_ca
from hauberk.citadel.plugged_rules import LEAF_SUBJECT, check_authority
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_leaf

LIFE = timedelta(hours=24)
ROOT = company_ca("Root", lives=timedelta(days=3650))
POLICY = company_ca("Policy", ROOT, lives=timedelta(days=1000))
OURS = company_ca("Mesh", POLICY, path_length=0)


def read(
    ca: CompanyCa,
    *,
    certificates: bytes | None = None,
    key: bytes | None = None,
    roots: bytes | None = b"default",
    passphrase: bytes | None = None,
) -> PluggedCa:
    roots = ca.root_pem if roots == b"default" else roots
    given = Given(
        certificates=(Named(name="ca-cert.pem", content=ca.chain_pem if certificates is None else certificates),),
        key=Named(name="ca-key.pem", content=ca.key_pem() if key is None else key),
        roots=None if roots is None else Named(name="root-cert.pem", content=roots),
        passphrase=passphrase,
    )
    return read_plugged_ca(given, trust_domain="cluster.local", now=NOW, leaf_lifetime=LIFE)


def refusal(ca: CompanyCa, **given: Any) -> str:
    with pytest.raises(CaRefused) as caught:
        read(ca, **given)
    return str(caught.value)


def test_the_chain_goes_up_to_the_root_and_the_root_stays_outside() -> None:
    found = read(OURS)
    assert found.chain == (OURS.certificate, POLICY.certificate)
    assert found.root == ROOT.certificate
    assert found.notes == ()


def test_an_authority_right_below_the_root_has_a_chain_of_one() -> None:
    ours = company_ca("Mesh", ROOT)
    assert read(ours).chain == (ours.certificate,)


def test_without_a_file_of_roots_the_root_is_at_the_end_of_the_chain() -> None:
    assert read(OURS, certificates=OURS.chain_pem + ROOT.pem, roots=None).root == ROOT.certificate


def test_the_order_above_the_first_does_not_matter_and_what_is_not_used_is_said() -> None:
    stranger = company_ca("Stranger")
    found = read(OURS, certificates=OURS.pem + ROOT.pem + stranger.pem + POLICY.pem)
    assert found.chain == (OURS.certificate, POLICY.certificate)
    assert found.notes == ("not used: certificate `CN=Stranger,O=Example Ltd`",)


def test_of_several_roots_only_the_one_that_the_chain_leads_to_is_believed() -> None:
    other = company_ca("Other root")
    found = read(OURS, roots=other.pem + ROOT.pem)
    assert found.root == ROOT.certificate
    assert found.notes == ("not used: certificate `CN=Other root,O=Example Ltd`",)


def test_text_around_the_certificates_is_no_harm() -> None:
    text = b"Bag Attributes\n  friendlyName: mesh\n" + OURS.pem.replace(b"\n", b"\r\n") + b"\n# policy\n" + POLICY.pem
    assert read(OURS, certificates=text).chain == (OURS.certificate, POLICY.certificate)


def test_a_given_intermediate_may_be_named_as_the_root() -> None:
    found = read(OURS, certificates=OURS.pem, roots=POLICY.pem)
    assert (found.chain, found.root) == ((OURS.certificate,), POLICY.certificate)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_keys_are_taken_in_every_usual_form(kind: str, form: PrivateFormat) -> None:
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
    key = ec.generate_private_key(curves[kind]) if kind in curves else rsa.generate_private_key(65537, 2048)
    ours = company_ca("Mesh", ROOT, key=key)
    found = read(ours, key=key.private_bytes(Encoding.PEM, form, NoEncryption()))
    assert found.key.public_key() == key.public_key()


def test_an_encrypted_key_is_opened_with_its_passphrase_only() -> None:
    assert read(OURS, key=OURS.key_pem(b"short"), passphrase=b"short").certificate == OURS.certificate
    assert "ca-key.pem: it is encrypted" in refusal(OURS, key=OURS.key_pem(b"short"))
    told = refusal(OURS, key=OURS.key_pem(b"short"), passphrase=b"wrong-secret")
    assert "the passphrase is wrong" in told
    assert "wrong-secret" not in told


def with_extension(extension: x509.ExtensionType, critical: bool = True) -> CompanyCa:
    return company_ca("Mesh", ROOT, extensions=((extension, critical),))


def names(permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None = None) -> CompanyCa:
    return with_extension(x509.NameConstraints(permitted, excluded))


def uri(value: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(value)


def subject(value: str) -> x509.GeneralName:
    return x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, value)]))


UNSOUND = {
    "no CA bit": (company_ca("Mesh", ROOT, ca=False), "it is not an authority: CA:TRUE"),
    "no basic constraints": (company_ca("Mesh", ROOT, ca=None), "it is not an authority"),
    "no keyCertSign": (company_ca("Mesh", ROOT, usages=("digital_signature", "crl_sign")), "keyCertSign"),
    "no key usage": (company_ca("Mesh", ROOT, usages=None), "keyCertSign"),
    "no cRLSign": (company_ca("Mesh", ROOT, usages=("key_cert_sign",)), "cRLSign"),
    "no key identifier": (company_ca("Mesh", ROOT, key_identifier=False), "no subject key identifier"),
    "expired": (company_ca("Mesh", ROOT, begins=-timedelta(days=9), lives=-timedelta(days=1)), "it has expired (2026-02-28 12:00 UTC)"),
    "too short a life": (company_ca("Mesh", ROOT, lives=timedelta(hours=23)), "before the first leaf would"),
    "not yet valid": (company_ca("Mesh", ROOT, begins=timedelta(hours=1)), "not valid before 2026-03-01 13:00 UTC"),
    "weak RSA": (company_ca("Mesh", ROOT, key=rsa.generate_private_key(65537, 1024)), "1024 bits"),
    "a strange curve": (company_ca("Mesh", ROOT, key=ec.generate_private_key(ec.SECP256K1())), "the curve secp256k1"),
    "a curve too large": (company_ca("Mesh", ROOT, key=ec.generate_private_key(ec.SECP521R1())), "the curve secp521r1"),
    "for servers only": (with_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False), "lacks clientAuth"),
    "another trust domain": (with_extension(x509.SubjectAlternativeName([uri("spiffe://other.example")])), "was made for spiffe://other"),
    "another URI": (names([uri("other.example")]), "limit URIs to other.example: spiffe://cluster.local/… is not allowed"),
    "below it only": (names([uri(".cluster.local")]), "is not allowed"),
    "our URI excluded": (names(None, [uri("cluster.local")]), "to all but cluster.local"),
    "another subject": (names([subject("Example Ltd")]), "do not allow the subject of leaves, O=Hauberk"),
    "unknown and critical": (
        with_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")),
        "critical extension that proxies do not know (1.2.3.4)",
    ),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_authority_is_refused_with_its_place_the_reason_and_a_remedy(case: str) -> None:
    ours, reason = UNSOUND[case]
    told = refusal(ours)
    assert told.startswith("ca-cert.pem, certificate `CN=Mesh,O=Example Ltd`: ")
    assert reason in told
    assert "; " in told


@pytest.mark.parametrize(
    "ours",
    [
        names([uri("cluster.local"), uri("other.example")]),
        names([uri("CLUSTER.local")]),
        names([uri(".local")]),
        names([subject("Hauberk"), subject("Example Ltd")]),
        names([x509.DNSName("example.com")]),
        with_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),
        with_extension(x509.SubjectAlternativeName([uri("spiffe://cluster.local")])),
        with_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
    ],
    ids=["permitted", "case", "parent domain", "subject", "only DNS", "unknown", "our trust domain", "any purpose"],
)
def test_what_does_not_stand_in_the_way_is_taken(ours: CompanyCa) -> None:
    assert read(ours).certificate == ours.certificate


def test_a_path_length_that_ends_above_us_is_found_where_it_stands() -> None:
    policy = company_ca("Policy", ROOT, path_length=0)
    told = refusal(company_ca("Mesh", policy))
    assert told.startswith("ca-cert.pem, certificate `CN=Policy,O=Example Ltd`: it allows 0 authorities below it, and there would be 1")


def test_an_unsound_certificate_above_us_is_found_too() -> None:
    policy = company_ca("Policy", ROOT, begins=-timedelta(days=9), lives=-timedelta(days=1))
    assert "`CN=Policy,O=Example Ltd`: it has expired" in refusal(company_ca("Mesh", policy, lives=timedelta(days=30)))


def test_a_signature_that_can_be_forged_is_refused() -> None:
    issuer = company_ca("Root", key=rsa.generate_private_key(65537, 2048))
    der = company_ca("Mesh", issuer).certificate.public_bytes(Encoding.DER)
    # sha256WithRSAEncryption becomes sha1WithRSAEncryption; that it is no valid signature any more is not what is looked at here.
    weak = x509.load_der_x509_certificate(der.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")))
    found = check_authority(weak, position=0, is_root=False, trust_domain="cluster.local", now=NOW, leaf_lifetime=LIFE)
    assert [breach.reason for breach in found] == ["it is signed with sha1, which can be forged"]


def test_what_would_outlive_the_one_that_signed_it_is_refused() -> None:
    policy = company_ca("Policy", ROOT, lives=timedelta(days=100))
    told = refusal(company_ca("Mesh", policy, lives=timedelta(days=200)))
    assert told.startswith("ca-cert.pem, certificate `CN=Policy,O=Example Ltd`: it ends at 2026-06-09 12:00 UTC, before what it has signed")


def test_a_certificate_is_named_with_the_file_it_stands_in() -> None:
    policy = company_ca("Policy", ROOT, path_length=0)
    ours = company_ca("Mesh", policy)
    given = Given(
        certificates=(Named(name="ca-cert.pem", content=ours.pem), Named(name="cert-chain.pem", content=ours.pem + policy.pem)),
        key=Named(name="ca-key.pem", content=ours.key_pem()),
        roots=Named(name="root-cert.pem", content=ROOT.pem),
    )
    with pytest.raises(CaRefused, match=r"cert-chain\.pem, certificate `CN=Policy,O=Example Ltd`: it allows 0"):
        read_plugged_ca(given, trust_domain="cluster.local", now=NOW, leaf_lifetime=LIFE)


def test_several_reasons_are_told_at_once() -> None:
    ours = company_ca("Mesh", ROOT, usages=("key_cert_sign",), key_identifier=False, lives=timedelta(hours=1))
    assert len(refusal(ours).splitlines()) == 3


def test_a_root_may_be_old_fashioned_but_not_weak() -> None:
    old = company_ca("Root", usages=None, key_identifier=False)
    assert read(company_ca("Mesh", old)).root == old.certificate
    weak = company_ca("Root", key=rsa.generate_private_key(65537, 1024))
    assert "its RSA key has 1024 bits" in refusal(company_ca("Mesh", weak))


def test_a_chain_with_a_gap_names_who_is_missing() -> None:
    told = refusal(OURS, certificates=OURS.pem)
    assert "the chain ends at certificate `CN=Mesh,O=Example Ltd`, whose issuer `CN=Policy,O=Example Ltd` is not among" in told


def test_an_issuer_of_the_same_name_with_another_key_is_told_apart() -> None:
    impostor = company_ca("Policy", ROOT)
    assert "the key of that certificate did not sign it" in refusal(OURS, certificates=OURS.pem + impostor.pem)


def test_a_root_that_does_not_end_the_chain_is_refused() -> None:
    assert "whose issuer `CN=Root,O=Example Ltd` is not among" in refusal(OURS, roots=company_ca("Other").pem)


def test_the_root_itself_is_not_taken() -> None:
    assert "its first certificate is a root" in refusal(ROOT, certificates=ROOT.pem)


def test_another_key_is_refused_and_a_wrong_order_is_recognized() -> None:
    assert "ca-key.pem: it does not belong to certificate `CN=Mesh" in refusal(OURS, key=ROOT.key_pem())
    assert "it belongs to certificate 2 of ca-cert.pem" in refusal(OURS, certificates=POLICY.pem + OURS.pem)


def test_a_key_of_a_kind_that_nobody_takes_is_refused() -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "its key is of a kind that signs no certificates of a mesh" in refusal(OURS, key=pem)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it holds no certificate"),
        (OURS.key_pem(), "it holds no certificate"),
        (OURS.chain_pem[:-200], "certificate 2: it cannot be read"),
        (OURS.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 2: it cannot be read"),
        (OURS.pem * 65, "it holds 65 certificates"),
    ],
    ids=["empty", "a key", "cut off", "garbage", "a collection"],
)
def test_a_file_that_holds_something_else_is_named(content: bytes, reason: str) -> None:
    assert reason in refusal(OURS, certificates=content)


@pytest.mark.parametrize("content", [b"", OURS.pem, b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"])
def test_a_key_file_that_holds_something_else_is_not_quoted(content: bytes) -> None:
    told = refusal(OURS, key=content)
    assert "ca-key.pem: it is damaged" in told
    assert "c2VjcmV0" not in told


def test_two_certificates_that_signed_each_other_are_no_endless_chain() -> None:
    first, second = company_ca("A"), company_ca("B")
    a_by_b = company_ca("A", second, key=first.key)
    b_by_a = company_ca("B", first, key=second.key)
    ours = company_ca("Mesh", first)
    assert "the chain ends at" in refusal(ours, certificates=ours.pem + a_by_b.pem + b_by_a.pem, roots=None)


def test_a_chain_that_is_too_long_is_refused() -> None:
    ca = ROOT
    for number in range(9):
        ca = company_ca(f"Level {number}", ca)
    assert "more than 8 certificates up to a root" in refusal(ca)


def test_the_subject_that_is_compared_is_that_of_leaves() -> None:
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    leaf = build_leaf(
        spiffe_id=SpiffeId("cluster.local", "/ns/a/sa/b"), public_key=public_key, issuer=OURS.certificate, serial=1, now=NOW, lifetime=LIFE
    ).sign(OURS.key, hashes.SHA256())
    assert leaf.subject == LEAF_SUBJECT
