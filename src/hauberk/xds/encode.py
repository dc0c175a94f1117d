"""A DeltaDiscoveryResponse as a concatenation of parts that are already encoded.

In protobuf's wire format the bytes of a repeated field may simply follow each other, so a response to a thousand proxies
needs no message object: framed resources, then type, nonce and removed names.
"""

from __future__ import annotations

from collections.abc import Iterable

from hauberk.xds.resource import Resource

# Field numbers of DeltaDiscoveryResponse, shifted to tags of wire type 2 (length-delimited).
RESOURCES = bytes([2 << 3 | 2])
TYPE_URL = bytes([4 << 3 | 2])
NONCE = bytes([5 << 3 | 2])
REMOVED = bytes([6 << 3 | 2])


def encode_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_resources(resources: Iterable[Resource]) -> bytes:
    """The `resources` field of a response that holds exactly these."""
    parts: list[bytes] = []
    for resource in resources:
        parts += (RESOURCES, encode_varint(len(resource.encoded)), resource.encoded)
    return b"".join(parts)


def encode_response(type_url: str, nonce: str, bodies: Iterable[bytes], removed: Iterable[str] = ()) -> bytes:
    """The whole response; `bodies` come from `encode_resources`."""
    parts = [*bodies, *_text(TYPE_URL, type_url), *_text(NONCE, nonce)]
    for name in removed:
        parts += _text(REMOVED, name)
    return b"".join(parts)


def _text(tag: bytes, text: str) -> tuple[bytes, bytes, bytes]:
    encoded = text.encode()
    return tag, encode_varint(len(encoded)), encoded
