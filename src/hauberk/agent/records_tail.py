"""Reading a growing file line by line, also over its rotation, and never falling further behind than is bearable."""

import os
from contextlib import suppress
from pathlib import Path

from hauberk.telemetry.store import Position

PIECE = 1 << 20  # bytes read at once
# More than this unread means that records come faster than they can be kept: the oldest are given up, and counted.
MAX_BEHIND = 64 << 20
LONGEST_LINE = 256 * 1024  # bytes without a newline that are still waited for to become a line


class Tail:
    """One pod's access log. `read` gives what is new, `position` says how far that was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._aside = path.with_name(path.name + ".1")
        self._descriptor = -1
        self._inode = 0
        self._offset = 0
        self._held = b""

    def locate(self, position: Position | None) -> None:
        """Reading begins at `position`, where it was left, if the file is still that one."""
        if position is not None:
            self._inode, self._offset = position.inode, position.offset

    @property
    def position(self) -> Position:
        """Behind the last whole line that was read."""
        return Position(str(self.path), self._inode, self._offset - len(self._held))

    @property
    def size(self) -> int:
        """Bytes of the file being read."""
        return os.fstat(self._descriptor).st_size if self._descriptor >= 0 else 0

    def read(self) -> list[bytes]:
        """Whole lines that were not read yet, at most about `PIECE` bytes of them; none when there are none."""
        if self._descriptor < 0 and not self._open():
            return []
        self._skip()
        piece = os.pread(self._descriptor, PIECE, self._offset)
        if piece:
            self._offset += len(piece)
            return self._lines(piece)
        # Only after its end was seen a file is left for its successor, which nobody writes before.
        return self.read() if self._succeeded() else []

    def set_aside(self) -> None:
        """The file has another name, and whoever opens it anew begins an empty one. It is still read to its end."""
        if not self._aside.exists():
            with suppress(FileNotFoundError):
                self.path.rename(self._aside)

    def close(self) -> None:
        """Nothing is open afterwards."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lines(self, piece: bytes) -> list[bytes]:
        *lines, self._held = (self._held + piece).split(b"\n")
        if len(self._held) > LONGEST_LINE:
            self._held = b""
            self.dropped += 1
        if lines or not piece:
            return [line for line in lines if line]
        return self.read()

    def _open(self) -> bool:
        # The one set aside first: an agent that ended in the middle of a rotation has left it half read.
        for path in (self._aside, self.path):
            with suppress(FileNotFoundError):
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                found = os.fstat(self._descriptor)
                # Another file than the one whose position is known, or that one cut short: from its beginning.
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._inode, self._offset = found.st_ino, 0
                self._held = b""
                return True
        return False

    def _succeeded(self) -> bool:
        """Whether another file has taken this one's name; then that one is read from now on, and this one is gone."""
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        if named.st_ino == self._inode:
            return False
        self.close()
        self._aside.unlink(missing_ok=True)
        return self._open()

    def _skip(self) -> None:
        behind = self.size - self._offset
        if behind <= MAX_BEHIND:
            return
        begin, self._offset = self._offset, self._offset + behind - PIECE
        for at in range(begin, self._offset, PIECE):
            self.dropped += os.pread(self._descriptor, min(PIECE, self._offset - at), at).count(b"\n")
        # What follows begins in the middle of a line, which is counted above or given up here.
        rest = os.pread(self._descriptor, PIECE, self._offset)
        self._offset += rest.find(b"\n") + 1
        self.dropped += 1
        self._held = b""
