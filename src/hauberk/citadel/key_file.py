"""Keys in files: one each, named after its id, readable by its owner alone, sealed as the operator chose."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from hauberk.citadel.key_seal import Plain, Seal, SealBroken, SealForeign
from hauberk.citadel.key_signer import KeySigner, generate
from hauberk.citadel.key_store import KeyAbsent, KeyAlgorithm, KeyUnreadable, PrivateKey, check_id, is_id
from hauberk.citadel.private_file import TEMPORARY, TOKEN_TAG_FILE, read_private, sync_directory, write_private
from hauberk.kit.log import logger

_RESTORE = "restore the file from a backup, or see `recover from a lost key` in the documentation"
_IN_TOKEN = "if the key is in a token that is no longer set, name that as HAUBERK_CA_FORMER_TOKEN; else " + _RESTORE
_log = logger("citadel")


@dataclass(frozen=True, slots=True)
class FileKeyStore:
    """The keys in `directory`: written in the form of `seal`, read in that form, in that of `former`, or plain.

    `prepare` brings every file into the form of `seal`. A file of the first release, `root.pem` or `issuing.pem`, holds the key's
    certificate as well: see `certificate`.
    """

    directory: Path
    seal: Seal = field(default_factory=Plain)
    former: Seal | None = None

    def prepare(self) -> None:
        """The directory is private and holds no half-written file; every key is sealed as it should be by now."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        for leftover in self.directory.glob(f"{TEMPORARY}*"):
            leftover.unlink(missing_ok=True)
        # All are opened before the first is written: a wrong passphrase must not leave some in one form and some in another.
        opened = [(name, *self._read(name)) for name in sorted(self.ids())]
        for name, key, seal, text in opened:
            if seal != self.seal:
                write_private(self.path(name), _certificates(text) + self.seal.close(name, key))
                _log.info("key sealed anew", key=name, seal=self.seal.name)

    def create(self, name: str, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> KeySigner:
        """A new key is on the disk."""
        return self.adopt(name, generate(algorithm))

    def adopt(self, name: str, key: PrivateKey) -> KeySigner:
        """The key is on the disk, unless one of that id is already."""
        path = self.path(name)
        if path.exists():
            raise FileExistsError(f"{path} exists: a key is never overwritten")
        write_private(path, self.seal.close(name, key))
        return KeySigner(key)

    def open(self, name: str) -> KeySigner:
        """The key `name`."""
        return KeySigner(self._read(name)[0])

    def certificate(self, name: str) -> x509.Certificate | None:
        """The certificate that lies in the key's file, as the first release wrote it."""
        path = self.path(name)
        try:
            found = x509.load_pem_x509_certificates(read_private(path))
        except ValueError:
            return None
        return found[0]

    def destroy(self, name: str) -> None:
        """The file is gone. Blocks of a disk may keep what was in them: where that matters, seal the keys or use a token."""
        self.path(name).unlink(missing_ok=True)
        sync_directory(self.directory)

    def ids(self) -> frozenset[str]:
        """Of all files of keys; what somebody else has put there under another kind of name (`root.old.pem`) is none of ours."""
        return frozenset(path.stem for path in self.directory.glob("[!.]*.pem") if is_id(path.stem))

    def path(self, name: str) -> Path:
        """Where the key `name` lies."""
        return self.directory / f"{check_id(name)}.pem"

    def _read(self, name: str) -> tuple[PrivateKey, Seal, bytes]:
        """The key, the seal that opened it, and the whole content of its file."""
        path = self.path(name)
        try:
            text = read_private(path)
        except KeyAbsent:
            in_token = (self.directory / TOKEN_TAG_FILE).exists()
            raise KeyAbsent(path, "it does not exist", _IN_TOKEN if in_token else _RESTORE) from None
        reason = ""
        for seal in (self.seal, *([self.former] if self.former else []), Plain()):
            try:
                return self._belonging(path, seal.open(name, text), text), seal, text
            except SealForeign as foreign:
                reason = reason or str(foreign)
            except SealBroken as broken:
                raise KeyUnreadable(path, str(broken), _RESTORE) from None
        raise KeyUnreadable(path, reason, "name the file with the right secret; nothing was changed")

    def _belonging(self, path: Path, key: PrivateKey, text: bytes) -> PrivateKey:
        """The key, if a certificate that lies beside it is its own."""
        certificate = self._first_certificate(path, text)
        if certificate is not None and certificate.public_key() != key.public_key():
            raise KeyUnreadable(path, "its key does not belong to its certificate", _RESTORE)
        return key

    def _first_certificate(self, path: Path, text: bytes) -> x509.Certificate | None:
        if not _certificates(text):
            return None
        try:
            return x509.load_pem_x509_certificate(text)
        except ValueError:
            raise KeyUnreadable(path, "it is damaged", _RESTORE) from None


def _certificates(text: bytes) -> bytes:
    """Everything before the key: the certificate, where there is one."""
    begin = min((at for label in (b"PRIVATE KEY-----", b"HAUBERK SEALED KEY-----") if (at := text.find(label)) >= 0), default=0)
    return text[: text.rfind(b"-----BEGIN", 0, begin)] if b"CERTIFICATE" in text[:begin] else b""
