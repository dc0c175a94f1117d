"""In which form a key lies in its file: plain, encrypted with a passphrase, or encrypted with a key file.

Nothing here does I/O: bytes in, bytes out, so that every form is tested without a disk.

A passphrase encrypts in the standard form of PKCS#8 (RFC 5958, PBES2), so that `openssl pkey` can still open the file when Hauberk is
gone. Its key derivation is cheap by today's measure; that is why a passphrase has to be long (`MINIMUM_PASSPHRASE`): it lies in a file
and nobody types it, so it can be what `openssl rand -base64 32` prints, which no derivation needs to protect.

A key file holds random bytes, so nothing has to be made expensive: HKDF-SHA256 with a salt of its own gives each sealed key another
AES-256-GCM key, so nonces cannot collide, and the id of the key is authenticated with it, so that two files cannot be exchanged.
"""

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from hauberk.citadel.key_store import PrivateKey

MINIMUM_PASSPHRASE = 16
MINIMUM_KEY_FILE = 32
_SALT = _DERIVED = 32
_NONCE = 12
_PEM = re.compile(rb"-----BEGIN (?P<label>[A-Z ]*PRIVATE KEY|HAUBERK SEALED KEY)-----\r?\n.+?-----END (?P=label)-----\r?\n?", re.DOTALL)
_SEALED = b"HAUBERK SEALED KEY"


class SealBroken(ValueError):
    """The key cannot be had from these bytes; the message says why, and never quotes them."""


class SealForeign(SealBroken):
    """The bytes are in order, but sealed in another way, or with another secret, than the one at hand."""


class Seal(Protocol):
    """One way to keep a key in a file."""

    @property
    def name(self) -> str:
        """How to call it in a log."""

    def close(self, name: str, key: PrivateKey) -> bytes:
        """The key as text for a file; `name` is its id."""

    def open(self, name: str, text: bytes) -> PrivateKey:
        """The key in `text`; SealForeign if it was sealed otherwise, SealBroken if it is damaged."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Not encrypted: the mode of the file is what protects it. PKCS#8 in PEM."""

    name = "plain"

    def close(self, name: str, key: PrivateKey) -> bytes:
        """The key as it is."""
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def open(self, name: str, text: bytes) -> PrivateKey:
        """The key, if it is not encrypted."""
        return read_key(text, None)


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Encrypted with a passphrase: PKCS#8 in PEM."""

    secret: bytes = field(repr=False)
    name = "passphrase"

    def __post_init__(self) -> None:
        if len(self.secret) < MINIMUM_PASSPHRASE:
            raise SealBroken(f"a passphrase of fewer than {MINIMUM_PASSPHRASE} characters can be guessed")

    def close(self, name: str, key: PrivateKey) -> bytes:
        """The key, encrypted."""
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(self.secret))

    def open(self, name: str, text: bytes) -> PrivateKey:
        """The key, if this is its passphrase."""
        label, block = find_key(text)
        if label != b"ENCRYPTED PRIVATE KEY":
            raise SealForeign("it is not encrypted with a passphrase")
        return _load_pem(block, self.secret)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Encrypted with the content of a key file: salt, nonce and AES-256-GCM ciphertext of the PKCS#8 DER, in base64."""

    secret: bytes = field(repr=False)
    name = "key file"

    def __post_init__(self) -> None:
        if len(self.secret) < MINIMUM_KEY_FILE:
            raise SealBroken(f"a key file holds at least {MINIMUM_KEY_FILE} random bytes")

    def close(self, name: str, key: PrivateKey) -> bytes:
        """The key, encrypted for this id alone."""
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        sealed = salt + nonce + self._cipher(salt).encrypt(nonce, plain, name.encode())
        return b"-----BEGIN " + _SEALED + b"-----\n" + base64.encodebytes(sealed) + b"-----END " + _SEALED + b"-----\n"

    def open(self, name: str, text: bytes) -> PrivateKey:
        """The key, if this is its key file, and `name` its id."""
        label, block = find_key(text)
        if label != _SEALED:
            raise SealForeign("it is not encrypted with a key file")
        try:
            sealed = base64.b64decode(b"".join(block.split(b"\n")[1:-2]), validate=True)
            salt, nonce, text = sealed[:_SALT], sealed[_SALT : _SALT + _NONCE], sealed[_SALT + _NONCE :]
            return _accept(load_der_private_key(self._cipher(salt).decrypt(nonce, text, name.encode()), None))
        except InvalidTag:
            raise SealForeign("the key file is not the one it was encrypted with (or it was damaged, or is another key's file)") from None
        except (binascii.Error, ValueError):
            raise SealBroken("it is damaged") from None

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(HKDF(algorithm=SHA256(), length=_DERIVED, salt=salt, info=b"hauberk authority key v1").derive(self.secret))


def read_key(text: bytes, passphrase: bytes | None) -> PrivateKey:
    """The key in a file that somebody else made: PKCS#8 or an older form of OpenSSL, encrypted with `passphrase` or not at all."""
    label, block = find_key(text)
    is_encrypted = b"ENCRYPTED" in block or label == _SEALED
    if is_encrypted and (passphrase is None or label == _SEALED):
        raise SealForeign("it is encrypted, and no secret is given to open it with")
    return _load_pem(block, passphrase if is_encrypted else None)


def find_key(text: bytes) -> tuple[bytes, bytes]:
    """Label and PEM block of the one private key in `text`; certificates may stand around it."""
    blocks = list(_PEM.finditer(text))
    if len(blocks) != 1:
        raise SealBroken("it is damaged: it holds no private key" if not blocks else "it holds more than one private key")
    return blocks[0]["label"], blocks[0][0]


def _load_pem(block: bytes, secret: bytes | None) -> PrivateKey:
    try:
        return _accept(load_pem_private_key(block, secret))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Without its cause: a parser's message could quote what it could not parse.
        if isinstance(error, SealBroken):
            raise
        if secret is not None:
            raise SealForeign("the passphrase is wrong (or the file was damaged)") from None
        raise SealBroken("it is damaged") from None


def _accept(key: object) -> PrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SealBroken("its key is of a kind that signs no certificates of a mesh; use ECDSA P-256 or P-384, or RSA")
    return key
