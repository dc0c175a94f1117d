"""Signatures by a private key object: one in this process's memory, or an adapter to a token's (`key_token`)."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hauberk.citadel.key_store import KeyAlgorithm, PrivateKey, PublicKey

_CURVES: dict[KeyAlgorithm, type[ec.EllipticCurve]] = {KeyAlgorithm.ECDSA_P256: ec.SECP256R1, KeyAlgorithm.ECDSA_P384: ec.SECP384R1}


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A `Signer` by `key`, which it never shows."""

    key: PrivateKey = field(repr=False)

    @property
    def public_key(self) -> PublicKey:
        """What certificates show of it."""
        return self.key.public_key()

    def sign_certificate(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """The certificate that `builder` describes."""
        return builder.sign(self.key, hash_for(self.public_key))

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """The revocation list that `builder` describes."""
        return builder.sign(self.key, hash_for(self.public_key))

    def sign(self, data: bytes) -> bytes:
        """A signature in the form of JWS: for ECDSA both numbers side by side instead of DER (RFC 7518, 3.4)."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hash_for(self.public_key))
        length = (self.key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hash_for(self.public_key))))
        return r.to_bytes(length) + s.to_bytes(length)


def generate(algorithm: KeyAlgorithm) -> ec.EllipticCurvePrivateKey:
    """A new key in this process's memory."""
    return ec.generate_private_key(curve_of(algorithm))


def curve_of(algorithm: KeyAlgorithm) -> ec.EllipticCurve:
    """The curve of the keys called `algorithm`."""
    return _CURVES[algorithm]()


def hash_for(key: PublicKey) -> hashes.SHA256 | hashes.SHA384:
    """The hash that is as strong as the key (FIPS 186-5); JWS and the profiles of TLS pair them in the same way."""
    return hashes.SHA384() if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size > 256 else hashes.SHA256()


def jws_algorithm(key: PublicKey) -> str:
    """The `alg` of signatures by this key (RFC 7518, 3.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    return "ES384" if key.curve.key_size > 256 else "ES256"
