"""Log files of the mesh's own processes, bounded in size."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LARGEST: Final = 10 * 1024 * 1024  # bytes of one file; one older file of that size is kept beside it
_PIECE: Final = 1024 * 1024


def open_log(path: Path) -> int:
    """A descriptor that appends to `path`, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def bound(path: Path, largest: int = LARGEST) -> bool:
    """Whether `path` had grown beyond `largest` and was emptied; what it held is in `path`.1 now.

    Copied and truncated, not renamed: its writer holds the file open and knows nothing of us. Lines written in between are lost.
    """
    try:
        if path.stat().st_size <= largest:
            return False
        with path.open("r+b") as source, os.fdopen(_create(path.with_name(path.name + ".1")), "wb") as copy:
            # Only what fits: a process that wrote without measure must not do so to the copy as well.
            source.seek(-largest, os.SEEK_END)
            while piece := source.read(_PIECE):
                copy.write(piece)
            source.truncate(0)
    except OSError:
        return False  # a full disk must not end the mesh; the next attempt may do better
    return True


def tail(path: Path, lines: int = 8) -> tuple[str, ...]:
    """The last lines of `path`, or none if it cannot be read."""
    try:
        with path.open("rb") as source:
            source.seek(max(0, source.seek(0, os.SEEK_END) - 16384))
            return tuple(source.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ()


def write_line(descriptor: int, message: str, **facts: object) -> None:
    """One JSON line, as the other processes' logs have them."""
    moment = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": moment, "process": "init", "message": message, **facts}
    try:
        os.write(descriptor, json.dumps(line, default=str).encode() + b"\n")
    except OSError:
        return  # the disk is full: going on without a log is better than not going on


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
