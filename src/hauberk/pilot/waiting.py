"""Waiting for a condition on state that changes in the same event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Turnstile:
    """Waiters, each with its condition; whoever changes the state calls `notify`."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at now and at every `notify`."""
        if condition():
            return
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[passed] = condition
        try:
            await passed
        finally:
            self._waiters.pop(passed, None)

    def notify(self) -> None:
        for passed, condition in tuple(self._waiters.items()):
            if not passed.done() and condition():
                passed.set_result(None)
