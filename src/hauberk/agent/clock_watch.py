"""Sleeps that end early when somebody sets the machine's clock, or when the machine was asleep itself."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn

from hauberk.kit.clock import Clock
from hauberk.kit.log import logger

# One look a second for all pods together: so late is a set clock noticed at most, and nobody ever notices the looking.
TICK_SECONDS: Final = 1.0
# Less than this is how late a busy machine lets us look, or a clock that is being adjusted little by little.
LEAST_JUMP_SECONDS: Final = 0.5
_log = logger("agent.clock")


def offset(clock: Clock) -> float:
    """How far the wall clock is ahead of the one that nobody sets; it changes only when the wall clock is set."""
    return clock.now().timestamp() - clock.monotonic()


def is_jump(before: float, after: float) -> bool:
    """Whether the clock was set between two looks at its `offset`."""
    return abs(after - before) >= LEAST_JUMP_SECONDS


class ClockWatch:
    """Wakes who sleeps by it when the wall clock has jumped; `run` does the looking."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._jumped = asyncio.Event()
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, jumped: Callable[[], None]) -> None:
        """`jumped` is called whenever the wall clock has jumped."""
        self._subscribers.append(jumped)

    async def sleep(self, seconds: float) -> None:
        """So many seconds have passed, or the wall clock has jumped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._jumped.wait()

    async def run(self) -> NoReturn:
        """Looks until cancelled."""
        # Compared with the last jump and not with the last look: many small steps are a large one in the end.
        before = offset(self._clock)
        while True:
            await self._sleep(TICK_SECONDS)
            after = offset(self._clock)
            if is_jump(before, after):
                _log.warning("the clock was set", seconds=round(after - before, 3))
                before = after
                self._wake()

    def _wake(self) -> None:
        jumped, self._jumped = self._jumped, asyncio.Event()
        jumped.set()
        for tell in self._subscribers:
            tell()
