"""Logs: kept, cut, and read."""

import asyncio
import os
from pathlib import Path

import pytest

from hauberk.agent.log_files import ContainerLog, rotate
from hauberk.agent.log_stream import follow, read_tail


@pytest.fixture
def log(tmp_path: Path) -> ContainerLog:
    return ContainerLog(tmp_path / "pod", "main")


def write(log: ContainerLog, text: str) -> None:
    descriptor = log.open()
    os.write(descriptor, text.encode())
    os.close(descriptor)


def read(log: ContainerLog, lines: int | None = None) -> str:
    return b"".join(read_tail(log.older(), log.current, lines)).decode()


def test_a_new_life_begins_a_new_log_and_keeps_the_one_before(log: ContainerLog) -> None:
    write(log, "first\n")
    log.begin()
    write(log, "second\n")
    assert (log.previous.read_text(), read(log)) == ("first\n", "second\n")


def test_a_large_log_is_cut_under_the_hands_of_its_writer(log: ContainerLog) -> None:
    descriptor = log.open()
    for number in range(4):
        os.write(descriptor, f"part {number}\n".encode())
        assert rotate(log.current, limit=3, keep=3)
    os.write(descriptor, b"end\n")
    os.close(descriptor)
    assert [path.name for path in log.older()] == ["main.log.2", "main.log.1"]
    assert read(log) == "part 2\npart 3\nend\n"


def test_a_small_log_is_left_alone(log: ContainerLog) -> None:
    write(log, "x\n")
    assert not rotate(log.current, limit=3, keep=3)
    assert not rotate(log.previous, limit=3, keep=3)


@pytest.mark.parametrize(("lines", "text"), [(None, "1\n2\n3\n4"), (2, "3\n4"), (0, ""), (9, "1\n2\n3\n4")])
def test_the_tail_is_counted_over_all_parts(log: ContainerLog, lines: int | None, text: str) -> None:
    write(log, "1\n2\n")
    rotate(log.current, limit=1, keep=3)
    write(log, "3\n4")
    assert read(log, lines) == text


async def test_following_goes_on_through_rotation_and_restart(log: ContainerLog) -> None:
    write(log, "1\n2\n")
    found: list[bytes] = []

    async def collect() -> None:
        async for piece in follow(log.older(), log.current, 1):
            found.append(piece)
            arrived.set()

    def append() -> None:
        write(log, "3\n")

    def cut() -> None:
        rotate(log.current, 1, 3)
        write(log, "4\n")

    def begin() -> None:
        log.begin()
        write(log, "5\n")

    arrived = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        following = tasks.create_task(collect())
        await arrived.wait()
        for change in (append, cut, begin):
            arrived.clear()
            change()
            await arrived.wait()
        following.cancel()
    assert b"".join(found) == b"2\n3\n4\n5\n"


def test_of_a_log_that_grew_without_measure_only_the_end_is_kept(log: ContainerLog) -> None:
    write(log, "begin\n")
    os.truncate(log.current, 1 << 40)  # a hole, as a program can make one in its own output
    write(log, "end\n")
    assert rotate(log.current, limit=100, keep=3)
    (older,) = log.older()
    assert older.stat().st_size == 400
    assert older.read_bytes().endswith(b"\0end\n")


def test_a_line_without_end_comes_in_pieces(log: ContainerLog) -> None:
    write(log, "x" * 200_000)
    pieces = list(read_tail((), log.current, None))
    assert max(map(len, pieces)) <= 1 << 16
    assert b"".join(pieces) == b"x" * 200_000
