"""A launcher whose programs are names on a list: they end when a test says so."""

import asyncio
from typing import Any, cast

from hauberk.linux.failure import LaunchFailure, UnknownProcess
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process, ProcessSpec


class FakeLauncher:
    """Remembers what it was asked; `fails` is raised by the next spawns instead, one after the other."""

    def __init__(self) -> None:
        self.spawned: list[str] = []
        self.signals: list[tuple[str, int]] = []
        self.forgotten: list[str] = []
        self.fails: list[LaunchFailure] = []
        self.born = asyncio.Event()
        self._ends: dict[str, asyncio.Future[int]] = {}

    @property
    def launcher(self) -> Launcher:
        return cast("Launcher", self)

    def end(self, name: str, status: int = 0) -> None:
        """The program has ended with that wait status."""
        self._ends[name].set_result(status)

    def adopt(self, name: str) -> Process:
        """A program that runs already."""
        self._ends[name] = asyncio.get_running_loop().create_future()
        return Process(name=name, pid=2**22 + 1)

    async def next_birth(self) -> str:
        """The name of the program that is started next."""
        await self.born.wait()
        self.born.clear()
        return self.spawned[-1]

    async def spawn(self, name: str, spec: ProcessSpec, stdio: Any) -> Process:
        if self.fails:
            raise self.fails.pop(0)
        self.spawned.append(name)
        self.born.set()
        return self.adopt(name)

    async def wait(self, name: str) -> int:
        return await asyncio.shield(self._ends[name])

    async def signal(self, name: str, number: int) -> None:
        if name not in self._ends or self._ends[name].done():
            raise UnknownProcess(name)
        self.signals.append((name, number))
        if number == 9:
            self.end(name, 9)

    async def forget(self, name: str) -> None:
        self.forgotten.append(name)
