"""The one writer of identity events: JSON lines, appended to one file that only its owner reads.

A file that has grown too large is set aside as `.1`, what was `.1` becomes `.2`, and so on to `KEPT`.
"""

import json
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

from hauberk.identity.event import Event
from hauberk.kit.log import logger

SIZE: Final = 64 * 1024 * 1024  # bytes of one file
KEPT: Final = 8  # files that were set aside
WAITING: Final = 32 * 1024 * 1024  # bytes that are remembered while the disk is full; then the oldest are lost, and their number is told

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_log = logger("citadel")


class Ledger:
    """`record` never waits for the disk and never fails; `flush` writes. Both may be called from any thread."""

    def __init__(self, path: Path, *, size: int = SIZE, waiting: int = WAITING) -> None:
        self._path = path
        self._size = size
        self._most = waiting
        self._waiting: deque[bytes] = deque()  # lines
        self._bytes = 0
        self._lost = 0
        self._queue = threading.Lock()  # held for moments, by who touches what waits
        self._file = threading.Lock()  # held while the disk works

    def record(self, event: Event) -> None:
        """`event` will be written by the next `flush`."""
        line = _line(event)
        with self._queue:
            self._waiting.append(line)
            self._bytes += len(line)
            self._forget()

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._waiting)

    def flush(self) -> None:
        """What was recorded is in the file. While the disk is full it is kept, and tried again the next time."""
        with self._file:
            with self._queue:
                lines, self._waiting, self._bytes = self._waiting, deque(), 0
            if not lines:
                return
            try:
                self._append(b"".join(lines))
            except OSError as exc:
                with self._queue:
                    self._waiting.extendleft(reversed(lines))
                    self._bytes += sum(map(len, lines))
                    self._forget()
                _log.error("identity events could not be written", path=str(self._path), reason=str(exc), waiting=len(lines))
                return
            with self._queue:
                lost, self._lost = self._lost, 0
            if lost:
                _log.error("identity events were lost while the disk was full", number=lost)

    def _forget(self) -> None:
        """No more waits than there is room for."""
        while self._bytes > self._most:
            self._bytes -= len(self._waiting.popleft())
            self._lost += 1

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_APPEND: nothing that was written is ever written over, not even by a second process by mistake.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            before = file.tell()
            written = file.write(data)
            if written != len(data):
                # Half a batch would be written twice, and half a line is no JSON.
                os.ftruncate(file.fileno(), before)
                raise OSError(28, "the disk is full")
            full = before + written > self._size
        if full:
            self._set_aside()

    def _set_aside(self) -> None:
        for number in range(KEPT, 0, -1):
            source = self._path if number == 1 else self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _line(event: Event) -> bytes:
    return _ENCODER.encode(event.to_document()).encode() + b"\n"
