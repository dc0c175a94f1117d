"""A key in a PKCS#11 token as a private key object of `cryptography`.

The builders of that library ask such an object for a signature, and what they need of it is an abstract class; here are two such
classes whose signatures the token makes. So certificates and lists are built by the same code, whether a key lies in a file or in a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding, PKCS1v15

from hauberk.citadel.key_store import PublicKey
from hauberk.citadel.token_objects import find
from hauberk.citadel.token_session import TokenSession


class KeyStays(TypeError):
    """A key in a token was asked for itself, or for something a signing key of an authority does not do."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key pair in a token, by its label."""

    session: TokenSession = field(repr=False)
    label: str
    public: PublicKey

    def sign(self, data: bytes, mechanism: str) -> bytes:
        """What the token makes of `data` by the mechanism of that name."""
        signed: bytes = self.session.do(
            lambda session: find(session, self.label, pkcs11.ObjectClass.PRIVATE_KEY).sign(data, mechanism=pkcs11.Mechanism[mechanism])
        )
        return signed


class TokenEcKey(ec.EllipticCurvePrivateKey):
    """An ECDSA key in a token, as the builders of `cryptography` want to see one."""

    def __init__(self, key: TokenKey, public: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self._public = public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """An ECDSA signature in DER; the hash is made here, since not every token knows every hash."""
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, utils.Prehashed):
            raise KeyStays("a key in a token signs data, not somebody's digest")
        digest = hashes.Hash(algorithm)
        digest.update(data)
        signed = self._key.sign(digest.finalize(), "ECDSA")
        half = len(signed) // 2
        return utils.encode_dss_signature(int.from_bytes(signed[:half]), int.from_bytes(signed[half:]))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits of its curve."""
        return self._public.curve.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """Refused: an authority's key signs and does nothing else."""
        _refuse()

    def private_numbers(self) -> NoReturn:
        """Refused: the key does not leave its token."""
        _refuse()

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:
        """Refused: the key does not leave its token."""
        _refuse()

    def __copy__(self) -> TokenEcKey:
        return self

    def __deepcopy__(self, memo: object) -> TokenEcKey:
        return self


class TokenRsaKey(rsa.RSAPrivateKey):
    """An RSA key in a token, likewise."""

    def __init__(self, key: TokenKey, public: rsa.RSAPublicKey) -> None:
        self._key = key
        self._public = public

    def sign(self, data: Any, padding: AsymmetricPadding, algorithm: Any) -> bytes:
        """A signature by PKCS#1 1.5 with SHA-256: what an authority's RSA key signs with here."""
        if not isinstance(padding, PKCS1v15) or not isinstance(algorithm, hashes.SHA256):
            raise KeyStays("an RSA key in a token signs by PKCS#1 1.5 with SHA-256 only")
        return self._key.sign(bytes(data), "SHA256_RSA_PKCS")

    def public_key(self) -> rsa.RSAPublicKey:
        """The public half."""
        return self._public

    @property
    def key_size(self) -> int:
        """Bits of its modulus."""
        return self._public.key_size

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> NoReturn:
        """Refused: an authority's key signs and does nothing else."""
        _refuse()

    def private_numbers(self) -> NoReturn:
        """Refused: the key does not leave its token."""
        _refuse()

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:
        """Refused: the key does not leave its token."""
        _refuse()

    def __copy__(self) -> TokenRsaKey:
        return self

    def __deepcopy__(self, memo: object) -> TokenRsaKey:
        return self


def _refuse() -> NoReturn:
    raise KeyStays("the key does not leave its token")
