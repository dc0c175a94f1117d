"""Many small writes as few large ones: whoever comes while one is written shares the next."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """`write(items)` puts all of `items` on disk, or (its future fails) none; it is never begun while another is under way."""

    def __init__(self, write: Callable[[list[T]], "asyncio.Future[None]"]) -> None:
        self._write = write
        self._waiting: list[T] = []
        self._next: asyncio.Future[None] | None = None
        self._busy = False

    async def add(self, item: T) -> None:
        """Returns when `item` is on disk; raises what the write raised."""
        self._waiting.append(item)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        mine = self._next
        if not self._busy:
            self._begin()
        # Shielded: one who gives up must not take the others' answer with him.
        await asyncio.shield(mine)

    def _begin(self) -> None:
        items, told = self._waiting, self._next
        if told is None:
            return
        self._waiting, self._next, self._busy = [], None, True
        self._write(items).add_done_callback(lambda done: self._ended(done, told))

    def _ended(self, done: "asyncio.Future[None]", told: "asyncio.Future[None]") -> None:
        self._busy = False
        if not told.done():
            failure = asyncio.CancelledError() if done.cancelled() else done.exception()
            if failure is None:
                told.set_result(None)
            else:
                told.set_exception(failure)
                # If all who waited have given up, nobody asks what became of it.
                told.exception()
        self._begin()
