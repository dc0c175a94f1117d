"""Keys in a PKCS#11 token: made in it, used in it, never to be had out of it.

This module and the `token_…` ones it stands on need `python-pkcs11`, an optional part of the installation: import it only for a token.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, ObjectClass, Session

from hauberk.citadel.key_signer import KeySigner
from hauberk.citadel.key_store import KeyAbsent, KeyAlgorithm, PrivateKey, PublicKey, check_id
from hauberk.citadel.private_file import TOKEN_TAG_FILE, read_private, write_private
from hauberk.citadel.token_key import TokenEcKey, TokenKey, TokenRsaKey
from hauberk.citadel.token_objects import NotThere, find, generate_pair, import_pair, public_key_of
from hauberk.citadel.token_session import TokenSession
from hauberk.citadel.token_uri import TokenUri

_REFUSED_PIN_FILE = "token-pin-refused"
_RESTORE = "restore the token from its own backup, or see `recover from a lost key` in the documentation"


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Signs as `KeySigner` does, but by a device that may take its time: who sees one signs in a thread, and not in an event loop."""

    by: KeySigner

    @property
    def public_key(self) -> PublicKey:
        """What certificates show of the key."""
        return self.by.public_key

    def sign_certificate(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """The certificate that `builder` describes."""
        return self.by.sign_certificate(builder)

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """The revocation list that `builder` describes."""
        return self.by.sign_crl(builder)

    def sign(self, data: bytes) -> bytes:
        """A signature in the form of JWS."""
        return self.by.sign(data)


class TokenKeyStore:
    """The keys of one mesh in the token `uri`, each with the label `hauberk-TAG/ID`.

    The tag is made by chance and kept in `directory`, so that meshes which share a token never take each other's keys for theirs.
    """

    def __init__(self, directory: Path, uri: TokenUri) -> None:
        self._directory = directory
        self._uri = uri
        self._session = TokenSession(uri, directory / _REFUSED_PIN_FILE)

    def prepare(self) -> None:
        """The token can be used, and this mesh has its tag."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._session.do(lambda _: None)
        if not (self._directory / TOKEN_TAG_FILE).exists():
            write_private(self._directory / TOKEN_TAG_FILE, f"{secrets.token_hex(4)}\n".encode())

    def create(self, name: str, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> TokenSigner:
        """A new key that was made in the token."""
        self._session.do(lambda session: generate_pair(session, self._label_if_free(session, name), algorithm))
        return self.open(name)

    def adopt(self, name: str, key: PrivateKey) -> TokenSigner:
        """The key is in the token as well; where it came from, the caller has to destroy it."""
        self._session.do(lambda session: import_pair(session, self._label_if_free(session, name), key))
        return self.open(name)

    def open(self, name: str) -> TokenSigner:
        """The key `name`, if both its halves are in the token."""
        label = self._label(name)

        def read(session: Session) -> PublicKey:
            find(session, label, ObjectClass.PRIVATE_KEY)
            return public_key_of(find(session, label, ObjectClass.PUBLIC_KEY))

        try:
            public = self._session.do(read)
        except NotThere:
            raise KeyAbsent(f"{label} in {self._uri}", "it is not there", _RESTORE) from None
        key = TokenKey(self._session, label, public)
        return TokenSigner(KeySigner(TokenRsaKey(key, public) if isinstance(public, rsa.RSAPublicKey) else TokenEcKey(key, public)))

    def destroy(self, name: str) -> None:
        """Neither half is in the token."""
        label = self._label(name)

        def remove(session: Session) -> None:
            for found in list(session.get_objects({Attribute.LABEL: label})):
                found.destroy()

        self._session.do(remove)

    def ids(self) -> frozenset[str]:
        """Of all private keys with this mesh's tag."""
        prefix = self._label("")

        def names(session: Session) -> frozenset[str]:
            found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            labels = (str(key[Attribute.LABEL]) for key in list(found))
            return frozenset(label.removeprefix(prefix) for label in labels if label.startswith(prefix))

        return self._session.do(names)

    def _label(self, name: str) -> str:
        tag = read_private(self._directory / TOKEN_TAG_FILE).decode().strip()
        return f"hauberk-{tag}/{check_id(name) if name else ''}"

    def _label_if_free(self, session: Session, name: str) -> str:
        label = self._label(name)
        if list(session.get_objects({Attribute.LABEL: label})):
            raise FileExistsError(f"{label} exists in {self._uri}: a key is never overwritten")
        return label
