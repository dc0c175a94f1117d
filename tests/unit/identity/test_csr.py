"""Of a certificate request only the key is believed, and only a strong one whose owner asks."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.identity.csr import MAX_CSR_BYTES, InvalidCsr, build_csr, build_csr_der, read_public_key, read_public_key_der

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def request_with(key: Key, algorithm: hashes.HashAlgorithm | None = None) -> str:
    chosen = None if isinstance(key, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA256()
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/istio-system/sa/admin")])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return request.sign(key, chosen).public_bytes(Encoding.PEM).decode()  # type: ignore[arg-type] # None is right for Ed25519


def test_the_key_of_a_request_comes_out_again() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert read_public_key(build_csr(key)) == key.public_key()


def test_what_else_a_request_claims_is_not_even_returned() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    assert read_public_key(request_with(key)) == key.public_key()


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_keys_of_usual_size_are_taken(bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    assert read_public_key(request_with(key)) == key.public_key()


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP224R1()), rsa.generate_private_key(65537, 1024), ed25519.Ed25519PrivateKey.generate()]
)
def test_weak_and_unknown_keys_are_refused(key: Key) -> None:
    with pytest.raises(InvalidCsr):
        read_public_key(request_with(key))


def test_a_request_for_a_key_its_sender_does_not_hold_is_refused() -> None:
    pem = build_csr(ec.generate_private_key(ec.SECP256R1()))
    der = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(Encoding.DER))
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    mine = x509.load_pem_x509_csr(pem.encode()).public_key()
    assert isinstance(mine, ec.EllipticCurvePublicKey)
    numbers = mine.public_numbers()
    at = der.index(numbers.x.to_bytes(32, "big"))
    der[at : at + 64] = other.public_numbers().x.to_bytes(32, "big") + other.public_numbers().y.to_bytes(32, "big")
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(InvalidCsr, match="signature"):
        read_public_key(forged)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "a" * 20_000, "\ud800"]
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(InvalidCsr):
        read_public_key(text)


def test_two_requests_or_garbage_around_one_are_refused() -> None:
    pem = build_csr(ec.generate_private_key(ec.SECP256R1()))
    for text in (pem + pem, pem + "garbage", "garbage\n" + pem, pem.replace("-----END", "=\n-----END", 1).replace("A", "*", 1)):
        with pytest.raises(InvalidCsr):
            read_public_key(text)


def test_a_request_may_have_line_ends_of_other_systems_and_blank_lines_around_it() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert read_public_key("\r\n" + build_csr(key).replace("\n", "\r\n") + "\r\n") == key.public_key()


def test_bytes_behind_the_end_of_a_request_are_refused() -> None:
    der = build_csr_der(ec.generate_private_key(ec.SECP256R1()))
    assert read_public_key_der(der)
    for bad in (der + b"\x00", der[:-1], b"", der * 2):
        with pytest.raises(InvalidCsr):
            read_public_key_der(bad)


def test_what_is_too_long_is_not_read_at_all() -> None:
    with pytest.raises(InvalidCsr, match="at most"):
        read_public_key_der(b"\x30" * (MAX_CSR_BYTES + 1))
    with pytest.raises(InvalidCsr, match="at most"):
        read_public_key("A" * 1_000_000)


def test_an_ed25519_key_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidCsr, match="Envoy offers no Ed25519"):
        read_public_key(request_with(ed25519.Ed25519PrivateKey.generate()))
