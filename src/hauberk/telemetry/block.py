"""Records side by side in one blob each for what they are chosen by and for their lines: storing many costs little more than one."""

import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

_ROW = struct.Struct("<qIIQB")
_HASH = struct.Struct("<Q")
_BETWEEN = b"\n"  # no line holds one: that is what makes it a line


class Row(NamedTuple):
    """What a record is chosen by: microseconds since the epoch, numbers of its parties, `hash_request_id`, whether it was denied."""

    time: int
    source: int
    destination: int
    request: int
    denied: int


def pack_rows(rows: Iterable[Row]) -> bytes:
    """`rows` one behind the other."""
    return b"".join([_ROW.pack(*row) for row in rows])


def read_rows(packed: bytes) -> Iterator[Row]:
    """The rows that `pack_rows` has packed."""
    return map(Row._make, _ROW.iter_unpack(packed))


def join_lines(lines: Iterable[bytes]) -> bytes:
    """`lines` in one piece."""
    return _BETWEEN.join(lines)


def split_lines(joined: bytes) -> list[bytes]:
    """What `join_lines` has joined."""
    return joined.split(_BETWEEN)


def hash_request_id(request_id: str) -> int:
    """A request id as a number of 64 bits; 0 is none."""
    return _HASH.unpack(blake2b(request_id.encode(errors="replace"), digest_size=8).digest())[0] if request_id else 0


def needle(request: int) -> bytes:
    """What a packed row of that request holds: a block without it need not be looked through."""
    return _HASH.pack(request)
