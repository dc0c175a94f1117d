"""Sleeping by the wall clock: whoever sets it is noticed."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from hauberk.agent.clock_watch import ClockWatch, is_jump

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """A wall clock that a test sets; after each of `steps` somebody looks at it, and after the last nobody does."""

    def __init__(self, *steps: float) -> None:
        self.steps = list(steps)
        self.wall = START
        self.passed = 0.0
        self.looked = asyncio.Event()

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    async def tick(self, seconds: float) -> None:
        await asyncio.sleep(0)
        if not self.steps:
            self.looked.set()
            await asyncio.Event().wait()
        self.passed += seconds
        self.wall += timedelta(seconds=seconds + self.steps.pop(0))


async def wakes(*steps: float) -> bool:
    """Whether somebody who would sleep for an hour wakes when the clock is set by these steps, one a second."""
    clock = FakeClock(*steps)
    watch = ClockWatch(clock, clock.tick)
    sleeping, watching = asyncio.create_task(watch.sleep(3600)), asyncio.create_task(watch.run())
    await clock.looked.wait()
    await asyncio.sleep(0)
    woke = sleeping.done()
    for task in (sleeping, watching):
        task.cancel()
    await asyncio.gather(sleeping, watching, return_exceptions=True)
    return woke


@pytest.mark.parametrize("steps", [(7200.0,), (-7200.0,), (0.0, 0.0, 1.0), (0.2, 0.2, 0.2)])
async def test_a_clock_that_is_set_wakes_who_sleeps_by_it(steps: tuple[float, ...]) -> None:
    assert await wakes(*steps)


@pytest.mark.parametrize("steps", [(0.0, 0.0), (0.2, -0.2, 0.1)])
async def test_time_that_only_passes_wakes_nobody(steps: tuple[float, ...]) -> None:
    assert not await wakes(*steps)


async def test_without_a_jump_a_sleep_is_as_long_as_it_should_be() -> None:
    clock = FakeClock()
    await asyncio.wait_for(ClockWatch(clock).sleep(0.01), 10)


async def test_a_sleep_that_begins_after_a_jump_is_not_ended_by_it() -> None:
    clock = FakeClock(7200.0)
    watch = ClockWatch(clock, clock.tick)
    watching = asyncio.create_task(watch.run())
    await clock.looked.wait()
    sleeping = asyncio.create_task(watch.sleep(3600))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not sleeping.done()
    for task in (sleeping, watching):
        task.cancel()
    await asyncio.gather(sleeping, watching, return_exceptions=True)


def test_both_directions_are_jumps() -> None:
    assert is_jump(0.0, 5.0)
    assert is_jump(5.0, 0.0)
    assert not is_jump(5.0, 5.1)
