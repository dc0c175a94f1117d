"""Where the authority's private keys lie, and what can be asked of one: a signature, never the key itself.

A store keeps one entry per authority id. Files are one kind of place (`key_file`), a PKCS#11 token another (`key_token`); who signs
does not know which.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class KeyAlgorithm(StrEnum):
    """What a new key may be. Keys that were imported may also be RSA of 2048 bits or more."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"


class KeyUnreadable(RuntimeError):
    """A key, or a secret that guards one, exists and cannot be used; the message says what to do and never quotes what was read."""

    def __init__(self, what: Path | str, reason: str, remedy: str) -> None:
        super().__init__(f"the certificate authority cannot use {what}: {reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


class KeyAbsent(KeyUnreadable):
    """No key of this id is kept here."""


class Signer(Protocol):
    """One private key, wherever it lies. Its methods block for as long as the signature takes, and may be called from any thread."""

    @property
    def public_key(self) -> PublicKey:
        """What certificates show of it."""

    def sign_certificate(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """The certificate that `builder` describes, signed with the hash that befits the key."""

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """The revocation list that `builder` describes, signed likewise."""

    def sign(self, data: bytes) -> bytes:
        """A signature in the form of JWS (RFC 7518, 3.3 and 3.4): ES256 for P-256, ES384 for P-384, RS256 for RSA; see `jws_algorithm`."""


class KeyStore(Protocol):
    """The private keys of the authorities, by id (`check_id`)."""

    def prepare(self) -> None:
        """The place exists, is private, and holds nothing half-written. To be called once, before anything else."""

    def create(self, name: str, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> Signer:
        """A new key is kept safely under the id `name`; FileExistsError if there is one already."""

    def adopt(self, name: str, key: PrivateKey) -> Signer:
        """A key made elsewhere (an imported authority's) is kept safely under the id `name`; FileExistsError as above."""

    def open(self, name: str) -> Signer:
        """The key `name`; raises KeyAbsent if there is none, KeyUnreadable if it cannot be used."""

    def destroy(self, name: str) -> None:
        """There is no key `name`, whether there was one or not."""

    def ids(self) -> frozenset[str]:
        """Of all keys kept here; one that no authority belongs to was left by a crash and may be destroyed."""


def check_id(name: str) -> str:
    """`name`, if it can be an authority's id: a label of at most 63 lower-case letters, digits and inner dashes; else ValueError."""
    if not is_id(name):
        raise ValueError(f"{name!r} cannot be the id of an authority")
    return name


def is_id(name: str) -> bool:
    """Whether `name` can be an authority's id."""
    return _ID.fullmatch(name) is not None
