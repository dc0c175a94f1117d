"""The processes init has started: on their way, running, ended and not yet forgotten."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hauberk.linux import control, start
from hauberk.linux.failure import LinuxFailure, NameTaken, ProgramNotStarted, UnknownProcess
from hauberk.linux.process import Process
from hauberk.linux.syscall import SystemCallFailed
from hauberk.local.loop import READABLE, Loop

if TYPE_CHECKING:
    from hauberk.linux.start import Doors, Ground, Plan

_MOST_ENDED: Final = 4096  # ended processes that are remembered: an agent that never forgets must not fill init's memory

OnStarted = Callable[[ProgramNotStarted | None], None]


@dataclass(slots=True, eq=False)
class Child:
    """One process, from its fork until it is forgotten."""

    name: str
    plan: Plan
    pid: int
    pidfd: int
    report: int | None  # to be read once, when the program runs or could not
    on_started: OnStarted
    started_at: float
    ended_at: float | None = None
    wait_status: int | None = None
    abandoned: bool = False
    waiters: list[Callable[[int], None]] = field(default_factory=list)

    def process(self) -> Process:
        """What clients are told."""
        return Process(
            name=self.name,
            pid=self.pid,
            running=self.wait_status is None,
            wait_status=self.wait_status,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )


class Children:
    """All children by name; the only place that forks programs and reaps processes."""

    def __init__(self, loop: Loop, ground: Ground) -> None:
        self._loop = loop
        self._ground = ground
        self._named: dict[str, Child] = {}
        self._alive: dict[int, Child] = {}

    def spawn(self, name: str, plan: Plan, doors: Doors, on_started: OnStarted) -> Child:
        """A new child; `on_started` is told when its program runs, or why it does not (then nothing remains of it)."""
        if name in self._named:
            raise NameTaken(f"there is a process {name!r} already", "forget it first if it has ended")
        try:
            pid, pidfd, report = start.fork_program(plan, self._ground, doors)
        except OSError as error:
            raise LinuxFailure(f"cannot fork: {error.strerror}", "a limit on processes or memory is reached", error.errno or 0) from error
        child = Child(name, plan, pid, pidfd, report, on_started, time.time())
        self._named[name] = self._alive[pid] = child
        self._loop.watch(report, READABLE, lambda _: self._settle(child))
        return child

    def find(self, name: str) -> Child:
        """The child of that name; UnknownProcess if there is none."""
        child = self._named.get(name)
        if child is None:
            raise UnknownProcess(f"there is no process {name!r}", "`hauberk get pods` shows what runs")
        return child

    def find_running(self, name: str) -> Child:
        """As `find`, and it has not ended."""
        child = self.find(name)
        if child.wait_status is not None:
            raise UnknownProcess(f"the process {name!r} has ended", "`hauberk get pods` shows what runs")
        return child

    def signal(self, child: Child, number: int) -> None:
        """The child was sent that signal, if it still runs."""
        try:
            control.send_signal(child.pidfd, number)
        except SystemCallFailed as error:
            if child.wait_status is None and error.code == 3:  # ESRCH: ended, but not yet reaped
                return
            raise

    def forget(self, name: str) -> None:
        """The name is free if its process has ended; UnknownProcess never, NameTaken if it still runs."""
        child = self._named.get(name)
        if child is None:
            return
        if child.wait_status is None:
            raise NameTaken(f"the process {name!r} still runs", "end it first")
        del self._named[name]

    def abandon(self, name: str) -> None:
        """The process is killed, and forgotten as soon as it has ended."""
        child = self.find(name)
        child.abandoned = True
        if child.wait_status is None:
            self.signal(child, signal.SIGKILL)
        else:
            self.forget(name)

    def all(self) -> tuple[Child, ...]:
        return tuple(self._named.values())

    def with_pid(self, pid: int) -> Child | None:
        """The running child with that pid."""
        return self._alive.get(pid)

    def reap(self) -> None:
        """Every process that has ended is reaped: children, and orphans whose parent ended before them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (child := self._alive.pop(pid, None)) is not None:
                self._end(child, status)

    def _end(self, child: Child, status: int) -> None:
        # Whoever asked for it must hear that it ran before hearing that it ended.
        self._settle(child)
        os.close(child.pidfd)
        child.wait_status = status
        child.ended_at = time.time()
        if child.abandoned and self._named.get(child.name) is child:
            del self._named[child.name]
        waiters, child.waiters = child.waiters, []
        for tell in waiters:
            tell(status)
        self._bound_ended()

    def _settle(self, child: Child) -> None:
        if child.report is None:
            return
        report, child.report = child.report, None
        self._loop.unwatch(report)
        failure = start.read_report(report)
        if failure is not None and self._named.get(child.name) is child:
            del self._named[child.name]  # its exit is still to be reaped, but it never was a process of that name
        child.on_started(failure)

    def _bound_ended(self) -> None:
        ended = [child for child in self._named.values() if child.wait_status is not None]
        for child in ended[: max(0, len(ended) - _MOST_ENDED)]:
            del self._named[child.name]
