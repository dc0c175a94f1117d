"""The lock that says a mesh runs: held by its init, released by the kernel when init has ended in whatever way."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from hauberk.local.failure import StateNotWritable

if TYPE_CHECKING:
    from pathlib import Path


def take(path: Path) -> int | None:
    """A descriptor that holds the lock, or None if a mesh holds it."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EWOULDBLOCK:
            return None
        raise StateNotWritable(f"cannot lock {path}: {error.strerror}", "keep the state on a local file system") from error
    return descriptor


def note_pid(descriptor: int, pid: int) -> None:
    """Whoever finds the lock held can read which process holds it."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{pid}\n".encode(), 0)
    except OSError:
        return  # the disk is full; only `down` on a mesh that no longer answers would have needed it


def holder(path: Path) -> int | None:
    """The process that holds the lock; None if nothing is known, or the process noted there does not have the file open."""
    try:
        pid = int(path.read_text())
        wanted = path.stat()
        for entry in os.scandir(f"/proc/{pid}/fd"):
            found = entry.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return pid
    except (OSError, ValueError):
        return None
    return None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make the directory writable, or set HAUBERK_STATE_DIR"
        raise StateNotWritable(f"cannot write {path}: {error.strerror}", hint) from error
