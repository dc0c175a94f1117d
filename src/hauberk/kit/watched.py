"""A value that changes, and whoever wants to know: at once by a call, or in turn by an iterator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Watched(Generic[T]):
    """The newest value, None before the first. Of one event loop; who is told must not block."""

    def __init__(self, value: T | None = None) -> None:
        self._value = value
        self._subscribers: list[Callable[[T], None]] = []
        self._changed = asyncio.Event()

    @property
    def value(self) -> T | None:
        """The newest."""
        return self._value

    def set(self, value: T) -> None:
        """`value` is the newest, and everybody has been told."""
        self._value = value
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for tell in tuple(self._subscribers):
            tell(value)

    def subscribe(self, tell: Callable[[T], None]) -> Callable[[], None]:
        """`tell` is called with every value from now on, until what is returned has been called."""
        self._subscribers.append(tell)
        return lambda: self._subscribers.remove(tell)

    async def first(self) -> T:
        """The value there is, or the first there will be."""
        return await anext(self.changes())

    async def changes(self) -> AsyncIterator[T]:
        """The value there is, then each that comes; of several that come while nobody asks, the last."""
        while True:
            changed = self._changed
            if self._value is not None:
                yield self._value
            await changed.wait()
