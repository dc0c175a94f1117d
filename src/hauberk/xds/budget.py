"""A limit to the bytes that are on their way to all proxies together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

# A copy of each response lives in the transport until the proxy has taken it. A thousand proxies that connect at once would
# otherwise hold a thousand copies of everything.
BYTES_IN_FLIGHT: Final = 64 * 1024 * 1024
# Small responses pass at once: an endpoint change must not queue behind somebody's first configuration.
SMALL: Final = 32 * 1024


class Budget:
    """Large responses are sent in the order they came, as many at a time as fit."""

    def __init__(self, limit: int = BYTES_IN_FLIGHT) -> None:
        self._free = limit
        self._limit = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def spend(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes of the budget; one that is larger than all of it waits until nothing else is in flight."""
        if size <= SMALL:
            yield
            return
        share = min(size, self._limit)
        await self._take(share)
        try:
            yield
        finally:
            self._free += share
            self._admit()

    async def _take(self, share: int) -> None:
        if not self._queue and self._free >= share:
            self._free -= share
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((share, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += share
            self._admit()
            raise

    def _admit(self) -> None:
        while self._queue and (self._queue[0][1].cancelled() or self._free >= self._queue[0][0]):
            share, turn = self._queue.popleft()
            if not turn.done():
                self._free -= share
                turn.set_result(None)
