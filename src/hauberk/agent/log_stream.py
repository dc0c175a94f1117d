"""Reading logs: the last lines of what there is, and then what comes."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Self

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
    """As `read_tail`, and then what is written to `current`, through restarts and rotation, until the pod's logs are removed."""
    with _Following(current) as following:
        # Up to where it ends now: what comes while the tail is being sent is sent after it, once.
        for line in read_tail(older, current, lines, following.position):
            yield line
        while True:
            piece = await asyncio.to_thread(following.read)
            if piece:
                yield piece
            elif piece is None:
                return
            else:
                await asyncio.sleep(_LOOK_SECONDS)


class _Following:
    """A file that is held open, so that its last words are read although it is removed, and left for the one that takes its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        with suppress(FileNotFoundError):
            self._stream = self._path.open("rb")
            self._stream.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    @property
    def position(self) -> int:
        """How much has been read."""
        return self._stream.tell() if self._stream is not None else 0

    def read(self) -> bytes | None:
        """What is new; nothing if nothing is; None if nothing will ever be."""
        if self._stream is not None and (piece := self._stream.read(_PIECE)):
            return piece
        try:
            self._turn_to(self._path.stat())
        except FileNotFoundError:
            return b"" if self._path.parent.exists() else None
        return self._stream.read(_PIECE) if self._stream is not None else b""

    def _turn_to(self, found: os.stat_result) -> None:
        if self._stream is None or os.fstat(self._stream.fileno()).st_ino != found.st_ino:
            self.__exit__()
            self._stream = None
            self._stream = self._path.open("rb")
        elif found.st_size < self._stream.tell():
            self._stream.seek(0)  # it was cut


def _lines(path: Path, end: int) -> Iterator[bytes]:
    with suppress(FileNotFoundError), path.open("rb") as stream:
        left = end
        # A line without end comes in pieces: its writer decides how long it is, and not how much memory that takes here.
        while left > 0 and (line := stream.readline(min(_PIECE, left))):
            yield line
            left -= len(line)
