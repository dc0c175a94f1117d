"""The files of a plugged-in authority: which they are, how they are read, and whether they have changed."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from hauberk.citadel.key_store import KeyAbsent, KeyUnreadable
from hauberk.citadel.plugged_ca import CaRefused, Fault, Given, Named
from hauberk.citadel.private_file import read_private

# What Istio takes in a directory or Secret `cacerts`, and what cert-manager makes; own certificate, key, root, rest of the chain.
_LAYOUTS = (("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"), ("tls.crt", "tls.key", "ca.crt", None))
_LARGEST = 1 << 20  # bytes
# The control plane has a view of the file system from when the mesh was started.
_ABSENT = (
    "the control plane finds no such file",
    "correct the path; if it was mounted since the mesh was started, copy it to where the mesh sees it",
)

Mark = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluggedFiles:
    """Absolute paths. `chain`: further certificates between the first of `certificates` and the root."""

    certificates: Path
    key: Path
    roots: Path | None = None
    chain: Path | None = None
    passphrase: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them that are named."""
        return tuple(Path(path) for path in asdict(self).values() if path is not None)

    def to_json(self) -> str:
        """The names, to remember them by."""
        return json.dumps({name: str(path) for name, path in asdict(self).items() if path is not None})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: Path(path) for name, path in json.loads(text).items() if name in known})

    def mark(self) -> Mark | None:
        """Changes whenever one of the files does, also if it is a link that leads elsewhere by now; None: one is absent."""
        try:
            statuses = [(str(path), path.stat()) for path in self.paths]
        except OSError:
            return None
        return tuple((name, each.st_ino, each.st_mtime_ns, each.st_size) for name, each in statuses)

    def read(self) -> Given:
        """What the files hold; raises CaRefused if one cannot be read or a secret one is open to others."""
        certificates = [self.certificates, *([self.chain] if self.chain else [])]
        passphrase = _secret(self.passphrase).content.rstrip(b"\r\n") if self.passphrase else None
        return Given(
            certificates=tuple(_public(path) for path in certificates),
            key=_secret(self.key),
            roots=_public(self.roots) if self.roots else None,
            passphrase=passphrase,
        )


def files_in(directory: Path, passphrase: Path | None = None) -> PluggedFiles:
    """The files of an authority in `directory`, by the names that Istio and cert-manager give them; raises CaRefused."""
    for own, key, roots, chain in _LAYOUTS:
        if (directory / own).exists():
            rest = directory / chain if chain and (directory / chain).exists() else None
            root = directory / roots if (directory / roots).exists() else None
            return PluggedFiles(certificates=directory / own, key=directory / key, roots=root, chain=rest, passphrase=passphrase)
    names = " or ".join(", ".join(name for name in layout if name) for layout in _LAYOUTS)
    remedy = f"put {names} there, or name the files with --cert and --key"
    raise CaRefused([Fault(where=str(directory), reason="it holds no files of an authority", remedy=remedy)])


def digest(given: Given) -> str:
    """Equal for equal public content: whether a change of files means anything."""
    content = [*(each.content for each in given.certificates), given.roots.content if given.roots else b""]
    return hashlib.sha256(b"\0".join(content)).hexdigest()


def _secret(path: Path) -> Named:
    try:
        return Named(name=str(path), content=read_private(path))
    except KeyUnreadable as error:
        reason, remedy = _ABSENT if isinstance(error, KeyAbsent) else (error.reason, error.remedy)
        raise CaRefused([Fault(where=str(path), reason=reason, remedy=remedy)]) from None


def _public(path: Path) -> Named:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        reason, remedy = _ABSENT
        raise CaRefused([Fault(where=str(path), reason=reason, remedy=remedy)]) from None
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise CaRefused([Fault(where=str(path), reason=reason, remedy="make it readable for the mesh's user")]) from None
    if len(content) > _LARGEST:
        raise CaRefused([Fault(where=str(path), reason="it is far too large for certificates", remedy="correct the path")])
    return Named(name=str(path), content=content)
