"""Signed tree heads as text: a checkpoint of C2SP's tlog-checkpoint in a signed note (C2SP signed-note), signed by Ed25519.

hauberk/default
1024
<root, base64>

— hauberk/default <key id and signature, base64>
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LONGEST: Final = 4096  # characters of a checkpoint
_DASH: Final = "— "


class HeadSigner(Protocol):
    """The key of a log, wherever it lies."""

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """What verifies its signatures: a key on P-256."""

    def sign(self, data: bytes) -> bytes:
        """A signature with SHA-256: both numbers of 32 bytes side by side (RFC 7518, 3.4)."""


class BadCheckpoint(ValueError):
    """A text that is no checkpoint, or not signed by the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The log `origin` had `size` records and this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, signer: HeadSigner) -> str:
    """`checkpoint` as a signed note."""
    numbers = signer.sign(checkpoint.text.encode())
    signature = encode_dss_signature(int.from_bytes(numbers[:32]), int.from_bytes(numbers[32:]))
    said = base64.b64encode(_key_id(signer.public_key) + signature).decode()
    return f"{checkpoint.text}\n{_DASH}{checkpoint.origin} {said}\n"


def read(note: str, key: ec.EllipticCurvePublicKey) -> Checkpoint:
    """The checkpoint that `note` holds; BadCheckpoint if it is none, or if `key` has not signed it."""
    checkpoint, lines = _parse(note)
    wanted = _key_id(key)
    for line in lines:
        said = _signature(line, checkpoint.origin)
        if said is not None and said.startswith(wanted):
            try:
                key.verify(said[len(wanted) :], checkpoint.text.encode(), ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                raise BadCheckpoint("the signature is not of this text") from None
            return checkpoint
    raise BadCheckpoint("it is not signed by the log's key")


def _parse(note: str) -> tuple[Checkpoint, list[str]]:
    text, blank, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if len(note) > LONGEST or not blank or len(lines) != 3 or not lines[1].isascii() or not lines[1].isdigit():
        raise BadCheckpoint("it is no checkpoint: origin, size, root, an empty line and signatures are meant")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        root = b""
    checkpoint = Checkpoint(origin=lines[0], size=int(lines[1]), root=root)
    # One checkpoint has one text: anything else was not written by a log.
    if len(root) != 32 or checkpoint.text != f"{text}\n":
        raise BadCheckpoint("its root or its size is not well formed")
    return checkpoint, signatures.splitlines()


def _signature(line: str, origin: str) -> bytes | None:
    if not line.startswith(f"{_DASH}{origin} "):
        return None
    try:
        return base64.b64decode(line.rpartition(" ")[2], validate=True)
    except (binascii.Error, ValueError):
        return None


def _key_id(key: ec.EllipticCurvePublicKey) -> bytes:
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()[:4]
