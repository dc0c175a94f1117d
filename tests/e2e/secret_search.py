"""Finding a secret in bytes, whatever it was written as: raw, hexadecimal, base64 at any offset, PEM, escaped in JSON."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, rsa

# How a private key begins that nobody has told the test about: as PEM, and as DER of a P-256 or P-384 key (PKCS#8 and SEC 1).
_PEM = b"PRIVATE KEY-----"
_SEALED = b"HAUBERK SEALED KEY-----"
_DER = (
    bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"),
    bytes.fromhex("3081b6020100301006072a8648ce3d020106052b8104002204819e30819b0201010430"),
    bytes.fromhex("30770201010420"),
    bytes.fromhex("3081a40201010430"),
)


@dataclass(frozen=True)
class Secret:
    """What must not be found, and how to call it where it is."""

    name: str
    content: bytes = field(repr=False)


UNKNOWN_KEYS = (
    Secret("a private key in PEM", _PEM),
    Secret("a sealed key", _SEALED),
    *(Secret("a private key in DER", beginning) for beginning in _DER),
)


def of_key(name: str, key: object) -> Secret:
    """The number that is the key; every form of the key holds it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return Secret(name, key.private_numbers().private_value.to_bytes((key.curve.key_size + 7) // 8))
    assert isinstance(key, rsa.RSAPrivateKey)
    prime = key.private_numbers().p
    return Secret(name, prime.to_bytes((prime.bit_length() + 7) // 8))


def search(data: bytes, secrets: Iterable[Secret]) -> set[str]:
    """The names of the secrets that are in `data`."""
    # PEM is broken into lines, and a line's end may be escaped by JSON, once or twice.
    joined = re.sub(rb"\s|\\+[nr]", b"", data)
    found: set[str] = set()
    for secret in secrets:
        forms = tuple(_forms(secret.content))
        if any(form in data or form in joined for form in forms):
            found.add(secret.name)
    return found


def _forms(content: bytes) -> Iterator[bytes]:
    yield content
    yield content.hex().encode()
    yield content.hex().upper().encode()
    yield content.hex(":").encode()
    yield repr(content)[2:-1].encode()
    if len(content) >= 24:
        yield str(int.from_bytes(content)).encode()
    for offset in range(3):
        # The first and the last characters depend on what stands around it.
        encoded = base64.b64encode(b"\0" * offset + content)
        yield encoded[(0, 2, 3)[offset] : len(encoded.rstrip(b"=")) - 1]
        yield base64.urlsafe_b64encode(b"\0" * offset + content)[(0, 2, 3)[offset] : len(encoded.rstrip(b"=")) - 1]
