"""The garbage collector of a process that holds a large state for long."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

# New containers before the collector looks at them by itself: Python's own number (700) is for scripts.
YOUNG: Final = 500_000
OLDER: Final = 10
OLDEST: Final = 10
IDLE_SECONDS: Final = 1.0


class Tidying:
    """Looks for garbage when nothing happens, so that it need not be done in the middle of a push.

    With a thousand services a search through everything takes 100 ms, and Python would begin one in every second push.
    """

    def __init__(self) -> None:
        self._due: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """What exists now will stay: it is not searched any more."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, OLDER, OLDEST)

    def postpone(self) -> None:
        """Something happened: look at what it left when all has been quiet for a while."""
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(IDLE_SECONDS, gc.collect, 1)
