"""The life of a container, with a launcher whose programs end when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.fake_launcher import FakeLauncher

from hauberk.agent.container import ContainerLife, Place, Setting
from hauberk.agent.environment import ReferenceBroken
from hauberk.agent.program import NotRunnable
from hauberk.agent.restart import RestartPolicy
from hauberk.api.container import Container
from hauberk.api.pod_status import ContainerState, ContainerStatus, Running, Waiting
from hauberk.kit.backoff import Backoff
from hauberk.linux.failure import LaunchFailure, ProgramNotStarted
from hauberk.linux.process import Process, ProcessSpec

NAME = "uid/main"
FAST = Backoff(first=0.0, limit=0.0)
SLOW = Backoff(first=1000.0, limit=1000.0, immediate=1)


class World:
    """One container, its launcher and what was said of it."""

    def __init__(
        self, tmp_path: Path, policy: RestartPolicy, backoff: Backoff, before: ContainerStatus | None, fields: dict[str, Any]
    ) -> None:
        self.launcher = FakeLauncher()
        self.open = asyncio.Event()
        self.open.set()
        self.prepare: Callable[[Container], Awaitable[ProcessSpec]] = self._prepare
        self._said: asyncio.Queue[ContainerStatus] = asyncio.Queue()
        setting = Setting(
            uid="uid",
            policy=policy,
            grace=30,
            launcher=self.launcher.launcher,
            backoff=backoff,
            logs=tmp_path,
            place=self._place,
            gate=self.open.wait,
            prepare=self._prepare_as_told,
            changed=lambda: self._said.put_nowait(self.life.status),
        )
        self.life = ContainerLife(Container.model_validate({"name": "main", "command": ["serve"], **fields}), setting, before)

    async def until(self, holds: Callable[[ContainerStatus], object]) -> ContainerStatus:
        """The first status of which that holds."""
        while not holds(self.life.status):
            await self._said.get()
        return self.life.status

    async def _prepare_as_told(self, container: Container) -> ProcessSpec:
        return await self.prepare(container)

    async def _prepare(self, container: Container) -> ProcessSpec:
        return ProcessSpec(argv=container.argv)

    async def _place(self) -> Place:
        return Place(network=-1, addresses=("10.244.0.2",))


@asynccontextmanager
async def living(
    tmp_path: Path,
    policy: RestartPolicy = "Always",
    backoff: Backoff = FAST,
    *,
    before: ContainerStatus | None = None,
    adopted: bool = False,
    change: Callable[[World], None] = lambda world: None,
    **fields: Any,
) -> AsyncIterator[tuple[World, asyncio.Task[Any]]]:
    """A container that lives for the time of the block."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        world = World(tmp_path, policy, backoff, before, fields)
        change(world)
        found: Process | None = world.launcher.adopt(NAME) if adopted else None
        task = tasks.create_task(world.life.run(found))
        yield world, task
        task.cancel()


def reason(status: ContainerStatus) -> str:
    return status.state.waiting.reason if status.state.waiting else ""


async def test_a_started_program_is_running_and_ready(tmp_path: Path) -> None:
    async with living(tmp_path) as (world, _):
        status = await world.until(lambda status: status.ready)
        assert (status.state.running is not None, status.restart_count) == (True, 0)


async def test_no_program_starts_before_the_gate_opens(tmp_path: Path) -> None:
    async with living(tmp_path, change=lambda world: world.open.clear()) as (world, _):
        await asyncio.sleep(0)
        assert world.launcher.spawned == []
        world.open.set()
        assert await world.launcher.next_birth() == NAME


async def test_a_program_that_ended_is_started_again(tmp_path: Path) -> None:
    async with living(tmp_path) as (world, _):
        await world.launcher.next_birth()
        world.launcher.end(NAME, 3 << 8)
        await world.launcher.next_birth()
        status = await world.until(lambda status: status.restart_count == 1 and status.state.running)
        assert status.last_state.terminated is not None
        assert status.last_state.terminated.exit_code == 3


async def test_a_program_that_is_done_stays_done(tmp_path: Path) -> None:
    async with living(tmp_path, "OnFailure") as (world, task):
        await world.launcher.next_birth()
        world.launcher.end(NAME, 0)
        ending = await task
        assert (ending.exit_code, world.life.status.restart_count) == (0, 0)


async def test_the_second_failure_in_a_row_waits(tmp_path: Path) -> None:
    async with living(tmp_path, backoff=SLOW) as (world, _):
        for _ in range(2):
            await world.launcher.next_birth()
            world.launcher.end(NAME, 1 << 8)
        status = await world.until(lambda status: reason(status) == "CrashLoopBackOff")
        assert status.restart_count == 1
        assert status.last_state.terminated is not None


async def test_a_new_agent_goes_on_waiting(tmp_path: Path) -> None:
    looping = ContainerStatus(name="main", restart_count=4, state=ContainerState(waiting=Waiting(reason="CrashLoopBackOff")))
    async with living(tmp_path, backoff=SLOW, before=looping) as (world, task):
        await asyncio.sleep(0.05)
        assert (world.launcher.spawned, task.done()) == ([], False)


async def test_a_running_program_is_taken_over_as_it_was(tmp_path: Path) -> None:
    before = ContainerStatus(name="main", ready=True, started=True, restart_count=2, state=ContainerState(running=Running()))
    async with living(tmp_path, before=before, adopted=True, readinessProbe={"tcpSocket": {"port": 1}, "initialDelaySeconds": 600}) as (
        world,
        _,
    ):
        status = await world.until(lambda status: status.state.running and status.state.running.started_at)
        assert (status.ready, status.restart_count, world.launcher.spawned) == (True, 2, [])


async def test_a_program_that_ended_while_no_agent_ran_is_started_again(tmp_path: Path) -> None:
    before = ContainerStatus(name="main", ready=True, started=True, state=ContainerState(running=Running()))
    async with living(tmp_path, before=before, adopted=True, change=lambda world: None) as (world, _):
        world.launcher.end(NAME, 1 << 8)
        assert await world.launcher.next_birth() == NAME
        assert (await world.until(lambda status: status.state.running)).restart_count <= 1


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ProgramNotStarted("serve", "exec", 2), "ProgramNotFound"),
        (ProgramNotStarted("serve", "chdir", 2), "CannotStart"),
        (LaunchFailure("no memory"), "CannotStart"),
    ],
)
async def test_a_program_that_cannot_be_started_says_why(tmp_path: Path, failure: LaunchFailure, expected: str) -> None:
    async with living(tmp_path, change=lambda world: world.launcher.fails.append(failure)) as (world, _):
        await world.until(lambda status: reason(status) == expected)
        assert world.launcher.spawned == []


async def test_a_container_that_may_not_run_is_not_tried_again(tmp_path: Path) -> None:
    async def refuse(_: Container) -> ProcessSpec:
        raise NotRunnable("CommandMissing", "set `command`")

    async with living(tmp_path, change=lambda world: setattr(world, "prepare", refuse)) as (world, task):
        await world.until(lambda status: reason(status) == "CommandMissing")
        assert not task.done()


async def test_a_broken_reference_is_told(tmp_path: Path) -> None:
    async def refuse(_: Container) -> ProcessSpec:
        raise ReferenceBroken("ConfigMap shop/log does not exist")

    async with living(tmp_path, change=lambda world: setattr(world, "prepare", refuse)) as (world, _):
        status = await world.until(lambda status: reason(status) == "CreateContainerConfigError")
        assert status.state.waiting is not None
        assert "shop/log" in status.state.waiting.message


async def test_a_program_that_does_not_end_in_its_grace_is_killed_and_stays_dead(tmp_path: Path) -> None:
    async with living(tmp_path) as (world, task):
        await world.launcher.next_birth()
        await world.until(lambda status: status.state.running)
        await world.life.end(asyncio.get_running_loop().time())
        assert world.launcher.signals == [(NAME, 15), (NAME, 9)]
        assert (await task).signal == 9
        assert len(world.launcher.spawned) == 1


async def test_a_container_that_does_not_run_ends_at_once(tmp_path: Path) -> None:
    async with living(tmp_path, change=lambda world: world.open.clear()) as (world, _):
        await world.life.end(asyncio.get_running_loop().time() + 1000)
        assert world.launcher.signals == []
