"""What a TLS handshake says in the clear: the version and the key exchange that the two sides agreed on. Pure: bytes in, facts out."""

from __future__ import annotations

from dataclasses import dataclass

_HANDSHAKE_RECORD, _CLIENT_HELLO, _SERVER_HELLO = 22, 1, 2
_SUPPORTED_VERSIONS, _KEY_SHARE = 43, 51
_VERSIONS = {0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_GROUPS = {0x0017: "P-256", 0x001D: "X25519", 0x11EC: "X25519MLKEM768"}


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of one side: what a client offers, or what a server chose."""

    side: str  # "client" or "server"
    version: str
    group: str


def parse_hello(data: bytes) -> Hello | None:
    """The hello at the start of a TCP payload; None if it does not begin with one."""
    if len(data) < 44 or data[0] != _HANDSHAKE_RECORD or data[1] != 3 or data[5] not in (_CLIENT_HELLO, _SERVER_HELLO):
        return None
    try:
        return _parse(data[5:])
    except IndexError:
        return None  # cut off by the end of the segment before anything that we look for


def _parse(message: bytes) -> Hello:
    server = message[0] == _SERVER_HELLO
    version = int.from_bytes(message[4:6])
    position = 38
    position += 1 + message[position]  # session id
    if server:
        position += 3  # cipher suite, compression
    else:
        position += 2 + int.from_bytes(message[position : position + 2])
        position += 1 + message[position]
    group = ""
    for kind, body in _extensions(message[position:]):
        if kind == _SUPPORTED_VERSIONS:
            version = int.from_bytes(body[:2]) if server else max(_offered(body))
        elif kind == _KEY_SHARE:
            first = body[:2] if server else body[2:4]
            group = _GROUPS.get(int.from_bytes(first), f"0x{first.hex()}")
    return Hello("server" if server else "client", _VERSIONS.get(version, f"0x{version:04x}"), group)


def _offered(body: bytes) -> list[int]:
    # Values of the form 0x?a?a are noise that clients add so that servers keep ignoring what they do not know.
    versions = [int.from_bytes(body[at : at + 2]) for at in range(1, 1 + body[0], 2)]
    return [version for version in versions if version in _VERSIONS] or [0]


def _extensions(data: bytes) -> list[tuple[int, bytes]]:
    found, position, end = [], 2, 2 + int.from_bytes(data[:2])
    while position + 4 <= min(end, len(data)):
        kind, size = int.from_bytes(data[position : position + 2]), int.from_bytes(data[position + 2 : position + 4])
        found.append((kind, data[position + 4 : position + 4 + size]))
        position += 4 + size
    return found


def tcp_payload(frame: bytes) -> bytes:
    """The payload of a TCP segment in an Ethernet frame; nothing if it is none."""
    ethertype, start = int.from_bytes(frame[12:14]), 14
    if ethertype == 0x0800 and len(frame) > 34 and frame[23] == 6:
        start += (frame[14] & 15) * 4
    elif ethertype == 0x86DD and len(frame) > 54 and frame[20] == 6:
        start += 40
    else:
        return b""
    return frame[start + (frame[start + 12] >> 4) * 4 :] if len(frame) > start + 12 else b""
