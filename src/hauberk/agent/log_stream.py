"""Reading logs: the last lines of what there is, and then what comes."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 16
_LOOK_SECONDS: Final = 0.1
_WHOLE: Final = 1 << 62


def read_tail(older: Sequence[Path], current: Path, lines: int | None, end: int = _WHOLE) -> Iterator[bytes]:
    """Lines of the older files and the first `end` bytes of the current one; only the last `lines` of them if that is a number."""
    ends = [*((path, _WHOLE) for path in older), (current, end)]
    skip = 0 if lines is None else max(0, sum(1 for path, limit in ends for _ in _lines(path, limit)) - lines)
    for path, limit in ends:
        for line in _lines(path, limit):
            if skip > 0:
                skip -= 1
            else:
                yield line


async def follow(older: Sequence[Path], current: Path, lines: int | None) -> AsyncIterator[bytes]:
    """As `read_tail`, and then what is written to `current`, through restarts and rotation, until the iteration is closed."""
    # Where it ends now: what comes while the tail is being sent is sent after it, once.
    position, inode = _end(current)
    for line in read_tail(older, current, lines, position):
        yield line
    while True:
        piece, position, inode = await asyncio.to_thread(_read_on, current, position, inode)
        if piece:
            yield piece
        else:
            await asyncio.sleep(_LOOK_SECONDS)


def _lines(path: Path, end: int) -> Iterator[bytes]:
    with suppress(FileNotFoundError), path.open("rb") as stream:
        left = end
        for line in stream:
            if left <= 0:
                return
            yield line[:left]
            left -= len(line)


def _read_on(path: Path, position: int, inode: int) -> tuple[bytes, int, int]:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if found.st_ino != inode or found.st_size < position:
                position = 0  # another life's file, or one that was cut
            stream.seek(position)
            piece = stream.read(_PIECE)
            return piece, position + len(piece), found.st_ino
    except FileNotFoundError:
        return b"", 0, 0


def _end(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_ino
