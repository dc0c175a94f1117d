"""Being told when a file of a directory is written, by inotify; where there is none, looking now and then is enough."""

import asyncio
import ctypes
import os
from pathlib import Path

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x002, 0x080, 0x100
_EVENTS = 64 * 1024  # bytes read at once
# Without inotify, and in case an event was lost: how long a line may lie unread.
FALLBACK_SECONDS = 1.0


class DirectoryWatch:
    """`changed` is set whenever something in one of the directories is written; to be cleared by who waits for it."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._libc = ctypes.CDLL(None, use_errno=True)
        # -1 if the machine's limit of instances is reached: then only the fallback remains.
        self._descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watches: dict[Path, int] = {}
        if self._descriptor >= 0:
            asyncio.get_running_loop().add_reader(self._descriptor, self._on_readable)

    def add(self, directory: Path) -> None:
        """Writes in `directory` are told of, if it exists."""
        if self._descriptor >= 0 and directory not in self._watches:
            mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
            number: int = self._libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask)
            if number >= 0:
                self._watches[directory] = number

    def remove(self, directory: Path) -> None:
        """Nothing more is told of `directory`."""
        number = self._watches.pop(directory, None)
        if number is not None:
            self._libc.inotify_rm_watch(self._descriptor, number)

    async def wait(self) -> None:
        """Returns when something was written, or might have been."""
        try:
            async with asyncio.timeout(FALLBACK_SECONDS):
                await self.changed.wait()
        except TimeoutError:
            pass
        self.changed.clear()

    def close(self) -> None:
        """Nothing is open afterwards."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_readable(self) -> None:
        # Which file it was does not matter: all are looked at, and a look at an unchanged one is one system call.
        try:
            os.read(self._descriptor, _EVENTS)
        except BlockingIOError:
            return
        self.changed.set()
