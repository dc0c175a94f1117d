"""Records side by side in one blob each for what they are chosen by and for their lines: storing many costs little more than one."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

_ROW = struct.Struct("<qIIB")
_HASH = struct.Struct("<I")
_BETWEEN = b"\n"  # no line holds one: that is what makes it a line

# What a record is chosen by, as it is packed: see `Row`.
RowValues = tuple[int, int, int, int]


class Row(NamedTuple):
    """What a record is chosen by: microseconds since the epoch, the number of its parties, `hash_request_id`, whether it was denied."""

    time: int
    between: int
    request: int
    denied: int


def pack_rows(rows: Iterable[RowValues]) -> bytes:
    """`rows` one behind the other."""
    pack = _ROW.pack
    return b"".join([pack(*row) for row in rows])


def read_rows(packed: bytes) -> Iterator[Row]:
    """The rows that `pack_rows` has packed."""
    return map(Row._make, _ROW.iter_unpack(packed))


def join_lines(lines: Iterable[bytes]) -> bytes:
    """`lines` in one piece."""
    return _BETWEEN.join(lines)


def split_lines(joined: bytes) -> list[bytes]:
    """What `join_lines` has joined."""
    return joined.split(_BETWEEN)


# A request id as a number of 32 bits, 0 if there is none: quick to make. Two may have the same, so whoever has found a record by it has
# to look at the record.
hash_request_id = crc32


def needle(request: int) -> bytes:
    """What a packed row of that request holds: a block without it need not be looked through."""
    return _HASH.pack(request)
