"""Who comes while one write is under way shares the next."""

import asyncio

import pytest

from hauberk.citadel.group_commit import GroupCommit


class Disk:
    """Writes when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.written: list[asyncio.Future[None]] = []

    def write(self, items: list[int]) -> "asyncio.Future[None]":
        self.batches.append(items)
        self.written.append(asyncio.get_running_loop().create_future())
        return self.written[-1]


async def started(commit: GroupCommit[int], *items: int) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(commit.add(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_the_first_is_written_at_once_and_the_others_together() -> None:
    disk = Disk()
    commit = GroupCommit[int](disk.write)
    (first,) = await started(commit, 1)
    rest = await started(commit, 2, 3, 4)
    assert disk.batches == [[1]]
    disk.written[0].set_result(None)
    await first
    assert disk.batches == [[1], [2, 3, 4]]
    assert not any(task.done() for task in rest)
    disk.written[1].set_result(None)
    await asyncio.gather(*rest)


async def test_a_write_that_fails_fails_for_those_in_it_and_for_no_others() -> None:
    disk = Disk()
    commit = GroupCommit[int](disk.write)
    (first,) = await started(commit, 1)
    (second,) = await started(commit, 2)
    disk.written[0].set_exception(OSError("full"))
    with pytest.raises(OSError, match="full"):
        await first
    disk.written[1].set_result(None)
    await second


async def test_one_who_gives_up_does_not_stop_the_others() -> None:
    disk = Disk()
    commit = GroupCommit[int](disk.write)
    (first,) = await started(commit, 1)
    gone, stays = await started(commit, 2, 3)
    first.cancel()
    gone.cancel()
    await asyncio.gather(first, gone, return_exceptions=True)
    disk.written[0].set_result(None)
    await asyncio.sleep(0)
    disk.written[1].set_result(None)
    await stays
    assert disk.batches == [[1], [2, 3]]
