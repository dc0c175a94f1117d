"""Certificate requests. Of a request only the public key is believed; every name comes from attestation."""

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.identity.template import PublicKey

MAX_CSR_BYTES = 16 * 1024  # a request with a 4096-bit RSA key has under 2 kB
# What two Envoys shake hands with: they load certificates of P-521 and Ed25519, but offer neither signature, and the handshake fails.
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = range(2048, 4097)  # shorter is weak, longer costs each handshake milliseconds
_TOO_LONG = f"a certificate request has at most {MAX_CSR_BYTES} bytes"
_PEM = re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END (?:NEW )?CERTIFICATE REQUEST-----")
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class InvalidCsr(ValueError):
    """A certificate request that no certificate is issued for; the message says why."""


def build_csr(key: ec.EllipticCurvePrivateKey) -> str:
    """A request for `key` that claims no name: the authority knows better who asks."""
    return _request(key).public_bytes(Encoding.PEM).decode()


def build_csr_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The same as it travels between machines of the mesh."""
    return _request(key).public_bytes(Encoding.DER)


def _request(key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())


def read_public_key(csr_pem: str) -> PublicKey:
    """The public key of a request in PEM, which holds nothing but the request."""
    encoded = csr_pem.encode(errors="replace")
    # PEM is a third longer than what is in it, and has its two lines.
    if len(encoded) > 2 * MAX_CSR_BYTES:
        raise InvalidCsr(_TOO_LONG)
    found = _PEM.fullmatch(encoded.strip())
    if found is None:
        raise InvalidCsr("not one PEM certificate request and nothing else")
    try:
        return read_public_key_der(base64.b64decode(b"".join(found[1].split()), validate=True))
    except binascii.Error as exc:
        raise InvalidCsr("not a PEM certificate request: its base64 is broken") from exc


def read_public_key_der(csr_der: bytes) -> PublicKey:
    """The public key of a request whose sender holds the private one and whose strength suffices."""
    request, key = _load(csr_der)
    strong = _strong(key)
    if not isinstance(request.signature_hash_algorithm, _HASHES):
        raise InvalidCsr("the certificate request is not signed with SHA-256, SHA-384 or SHA-512")
    # Without this check, whoever has seen a public key could have a certificate made for it.
    if not request.is_signature_valid:
        raise InvalidCsr("the certificate request's signature is wrong: it was not made with the key it asks for")
    return strong


def _load(csr_der: bytes) -> tuple[x509.CertificateSigningRequest, object]:
    # Looked at first: what is too long is not parsed at all.
    if len(csr_der) > MAX_CSR_BYTES:
        raise InvalidCsr(_TOO_LONG)
    try:
        # Bytes behind its end are an error here too.
        request = x509.load_der_x509_csr(csr_der)
        return request, request.public_key()
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as exc:
        raise InvalidCsr("not a certificate request with a known kind of key, or not a whole one and nothing else") from exc


def _strong(key: object) -> PublicKey:
    match key:
        case ec.EllipticCurvePublicKey(curve=curve) if isinstance(curve, _CURVES):
            return key
        case rsa.RSAPublicKey(key_size=bits) if bits in _RSA_BITS:
            return key
        case ed25519.Ed25519PublicKey():
            raise InvalidCsr("Envoy offers no Ed25519 signature in a handshake: make the key ECDSA P-256 or P-384")
        case _:
            raise InvalidCsr("a key is ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits")
