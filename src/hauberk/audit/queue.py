"""What waits to be written to an audit log: nobody who records something waits for the disk."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from hauberk.audit.files import LONGEST_RECORD
from hauberk.audit.log import AuditLog
from hauberk.kit.log import logger

WAITING: Final = 32 * 1024 * 1024  # bytes that are remembered while the disk is full; then the oldest are lost, and their number is told

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_log = logger("audit")


class AuditQueue:
    """`record` never waits for the disk and never fails; `flush` writes. Both may be called from any thread."""

    def __init__(self, log: AuditLog, *, waiting: int = WAITING) -> None:
        self._log = log
        self._most = waiting
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._queue = threading.Lock()  # held for moments, by who touches what waits
        self._file = threading.Lock()  # held while the disk works

    def record(self, document: Mapping[str, Any]) -> None:
        """`document` will be written by the next `flush`."""
        line = _line(document)
        with self._queue:
            self._waiting.append(line)
            self._bytes += len(line)
            self._forget()

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._waiting)

    def flush(self) -> None:
        """What was recorded is in the log. While the disk is full it is kept, and tried again the next time."""
        with self._file:
            with self._queue:
                lines, self._waiting, self._bytes = self._waiting, deque(), 0
            try:
                self._log.append(tuple(lines))
            except OSError as exc:
                self._keep(lines)
                _log.error("audit records could not be written", path=str(self._log.files.directory), reason=str(exc), waiting=len(lines))
                return
            with self._queue:
                lost, self._lost = self._lost, 0
            if lost:
                _log.error("audit records were lost while the disk was full", number=lost)

    def close(self) -> None:
        """Everything is written, as far as the disk takes it, and another process may open the log."""
        self.flush()
        self._log.close()

    def _keep(self, lines: deque[bytes]) -> None:
        with self._queue:
            self._waiting.extendleft(reversed(lines))
            self._bytes += sum(map(len, lines))
            self._forget()

    def _forget(self) -> None:
        """No more waits than there is room for."""
        while self._bytes > self._most:
            self._bytes -= len(self._waiting.popleft())
            self._lost += 1


def _line(document: Mapping[str, Any]) -> bytes:
    line = _ENCODER.encode(document).encode()
    if len(line) <= LONGEST_RECORD:
        return line
    # What is short of it says what it was.
    short = {name: value for name, value in document.items() if isinstance(value, (str, int)) and len(str(value)) < LONGEST_RECORD // 16}
    return _ENCODER.encode(short | {"cut": len(line)}).encode()
