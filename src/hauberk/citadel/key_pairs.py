"""Where the authority's keys lie: one file each, key and certificate together, readable by their owner alone.

A key and its certificate are one file because then there is no moment at which one exists without the other.
"""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from hauberk.citadel.key_store import KeyUnreadable

_TEMPORARY = ".new-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate that signs, and its key, which is never shown."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPairs:
    """The authorities kept in `directory`."""

    directory: Path

    def prepare(self) -> None:
        """The directory exists, is private, and holds no half-written file."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        for leftover in self.directory.glob(f"{_TEMPORARY}*"):
            leftover.unlink(missing_ok=True)

    def read(self, name: str) -> Authority | None:
        """The authority `name`, or None if it was never made."""
        path = self._path(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise KeyUnreadable(path, exc.strerror or "it cannot be read", "make it readable for the mesh's user") from exc
        if path.stat().st_mode & 0o077:
            raise KeyUnreadable(path, "others may read it", f"run `chmod 600 {path}`, and replace the key if they may have")
        return _parse(path, content)

    def write(self, name: str, authority: Authority) -> None:
        """The authority `name` is on disk, or, after a crash, what was there before."""
        temporary = self.directory / f"{_TEMPORARY}{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_encode(authority))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path(name))
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._sync()

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.pem"

    def _sync(self) -> None:
        # The new name itself must survive a power cut, or the next start would make a second root.
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encode(authority: Authority) -> bytes:
    key = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return authority.certificate.public_bytes(Encoding.PEM) + key


def _parse(path: Path, content: bytes) -> Authority:
    remedy = "restore it from a backup, or remove the directory to begin with a new authority (every identity changes)"
    try:
        certificate = x509.load_pem_x509_certificate(content)
        key = load_pem_private_key(content[content.rindex(b"-----BEGIN PRIVATE KEY") :], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without its cause: a parser's message could quote what it could not parse.
        raise KeyUnreadable(path, "it is damaged", remedy) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise KeyUnreadable(path, "its key does not belong to its certificate", remedy)
    return Authority(certificate=certificate, key=key)
