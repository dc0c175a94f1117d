import asyncio

import pytest

from hauberk.xds.budget import SMALL, Budget

LARGE = SMALL + 1


async def spend(budget: Budget, size: int, gate: asyncio.Event, started: list[int], number: int) -> None:
    async with budget.spend(size):
        started.append(number)
        await gate.wait()


async def test_as_many_are_under_way_as_fit_and_the_rest_follow_in_order() -> None:
    budget, gate, started = Budget(2 * LARGE), asyncio.Event(), list[int]()
    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(spend(budget, LARGE, gate, started, number))
        await asyncio.sleep(0)
        assert started == [0, 1]
        gate.set()
    assert started == [0, 1, 2, 3, 4]


async def test_small_ones_never_wait() -> None:
    budget, gate, started = Budget(LARGE), asyncio.Event(), list[int]()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(spend(budget, LARGE, gate, started, 0))
        tasks.create_task(spend(budget, LARGE, gate, started, 1))
        tasks.create_task(spend(budget, SMALL, gate, started, 2))
        await asyncio.sleep(0)
        assert started == [0, 2]
        gate.set()


async def test_one_that_is_larger_than_everything_goes_alone() -> None:
    budget = Budget(LARGE)
    async with asyncio.timeout(1), budget.spend(100 * LARGE):
        pass
    async with asyncio.timeout(1), budget.spend(LARGE):
        pass


async def test_a_waiter_that_gives_up_leaves_its_place() -> None:
    budget, gate, started = Budget(LARGE), asyncio.Event(), list[int]()
    first = asyncio.create_task(spend(budget, LARGE, gate, started, 0))
    second = asyncio.create_task(spend(budget, LARGE, gate, started, 1))
    third = asyncio.create_task(spend(budget, LARGE, gate, started, 2))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await asyncio.gather(first, third)
    assert started == [0, 2]
