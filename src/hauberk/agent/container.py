"""The life of one container: started, asked, started again when it ended, and ended for good when its pod ends."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hauberk.agent.environment import ReferenceBroken
from hauberk.agent.health import Opinion, Watch
from hauberk.agent.log_files import ContainerLog
from hauberk.agent.prober import Prober, run_inside
from hauberk.agent.program import NotRunnable, part_name, process_name
from hauberk.agent.restart import Ending, RestartPolicy, read_ending, restarts
from hauberk.agent.signals import SIGKILL, SIGTERM, hears
from hauberk.api.container import Container
from hauberk.api.pod_status import ContainerState, ContainerStatus, Running, Terminated, Waiting
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.linux.failure import LaunchFailure, ProgramNotStarted, UnknownProcess
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process, ProcessSpec

_REFERENCE_RETRY_SECONDS: Final = 1.0
CRASH_LOOP: Final = "CrashLoopBackOff"
_log = logger("agent.container")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pod's programs are reached."""

    network: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the containers of one pod share.

    `place` is known once the pod has its network; `gate` opens when programs may start; `prepare` makes a program's specification.
    """

    uid: str
    policy: RestartPolicy
    grace: int
    launcher: Launcher
    backoff: Backoff
    logs: Path
    place: Callable[[], Awaitable[Place]]
    gate: Callable[[], Awaitable[object]]
    prepare: Callable[[Container], Awaitable[ProcessSpec]]
    changed: Callable[[], None]


class ContainerLife:
    """One container of one pod; `status` is always what is known now."""

    def __init__(self, container: Container, setting: Setting, before: ContainerStatus | None) -> None:
        self.container = container
        self.process = process_name(setting.uid, container.name)
        self.log = ContainerLog(setting.logs, part_name(container.name))
        waiting = ContainerState(waiting=Waiting(reason="ContainerCreating"))
        self.status = before or ContainerStatus(name=container.name, image=container.image, state=waiting)
        self._setting = setting
        self._stopping = False
        self._running = False
        self._dead = ""
        self._pid = 0
        self._environment: dict[str, str] | None = None
        self._over = asyncio.Event()

    async def run(self, found: Process | None) -> Ending | None:
        """How it ended for good. `found` is the program that an agent before this one had started."""
        failures = await self._resume_waiting() if found is None else 0
        process = found
        while True:
            if process is None:
                process = await self._start(again=_has_run(self.status))
            ending = await self._live(process)
            process = None
            self._show_ending(ending)
            if self._stopping or not restarts(self._setting.policy, ending.exit_code):
                return ending
            failures = self._setting.backoff.failures_after(failures, _lasted(ending))
            if (delay := self._setting.backoff.delay(failures)) > 0:
                self._wait_because(
                    "CrashLoopBackOff", f"it ended {failures} times in a row; started again {delay:.0f} s after the last end"
                )
                await asyncio.sleep(delay)

    async def end(self, until: float) -> None:
        """It has ended, by its own will or (from `until` on, in the event loop's time) by force; it is not started again."""
        self._stopping = True
        if not self._running:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._pre_stop()
        await self._terminate(until)

    async def environment(self) -> dict[str, str]:
        """Its variables, for commands that are run beside it."""
        if self._environment is None:
            self._environment = dict((await self._setting.prepare(self.container)).env)
        return self._environment

    async def run_command(self, argv: tuple[str, ...]) -> int:
        """The wait status of a command run inside it."""
        return await run_inside(self._setting.launcher, self.process, argv, await self.environment())

    @property
    def running(self) -> bool:
        """Whether its program runs."""
        return self._running

    # --- starting

    async def _resume_waiting(self) -> int:
        """The failures before this agent was started, after the wait they had earned: a new agent is no reason to hurry."""
        waiting = self.status.state.waiting
        if waiting is None or waiting.reason != CRASH_LOOP:
            return 0
        failures = self.status.restart_count + 1
        await asyncio.sleep(self._setting.backoff.delay(failures))
        return failures

    async def _start(self, *, again: bool) -> Process:
        attempts = 0
        while True:
            attempts += 1
            try:
                await self._setting.gate()
                spec = await self._setting.prepare(self.container)
                return await self._spawn(spec, again=again)
            except NotRunnable as exc:
                await self._wait_for_ever(exc.reason, str(exc))
            except ReferenceBroken as exc:
                self._wait_because("CreateContainerConfigError", str(exc))
                await asyncio.sleep(_REFERENCE_RETRY_SECONDS)
            except LaunchFailure as exc:
                message = f"{exc}; {exc.hint}" if exc.hint else str(exc)
                if isinstance(exc, ProgramNotStarted) and exc.program_missing:
                    await self._wait_for_ever("ProgramNotFound", message)
                self._wait_because("CannotStart", message)
                await asyncio.sleep(max(self._setting.backoff.delay(attempts), _REFERENCE_RETRY_SECONDS))

    async def _spawn(self, spec: ProcessSpec, *, again: bool) -> Process:
        self.log.begin()
        output = self.log.open()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # The record of its last life, if that was not forgotten, would hold the name.
            await self._setting.launcher.forget(self.process)
            process = await self._setting.launcher.spawn(self.process, spec, (nothing, output, output))
        finally:
            os.close(nothing)
            os.close(output)
        self._environment = dict(spec.env)
        if again:
            self._show(restart_count=self.status.restart_count + 1)
        return process

    async def _wait_for_ever(self, reason: str, message: str) -> None:
        # Trying again would change nothing and fill the logs; a changed template makes another pod.
        self._wait_because(reason, message)
        await asyncio.get_running_loop().create_future()

    # --- living

    async def _live(self, process: Process) -> Ending:
        self._pid, self._dead = process.pid, ""
        self._over.clear()
        self._running = True
        adopted = self.status.state.running is not None and process.running
        opinion = Opinion(started=bool(self.status.started), ready=self.status.ready) if adopted else Opinion()
        started_at = datetime.fromtimestamp(process.started_at, UTC)
        self._show(state=ContainerState(running=Running(started_at=started_at)), started=opinion.started, ready=opinion.ready)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch(opinion), name=f"watch:{self.process}")
                status = await self._setting.launcher.wait(self.process)
                watching.cancel()
        finally:
            self._running = False
            self._over.set()
        await self._setting.launcher.forget(self.process)
        ended_at = datetime.fromtimestamp(process.ended_at, UTC) if process.ended_at else datetime.now(UTC)
        return read_ending(status, unhealthy=bool(self._dead), started_at=started_at, finished_at=ended_at)

    async def _watch(self, opinion: Opinion) -> None:
        place = await self._setting.place()
        prober = Prober(network=place.network, addresses=place.addresses, container=self.container, run=self.run_command)
        await Watch(self.container, prober, self._pid, opinion, self._on_opinion).run()
        if self._dead:
            _log.info("the program is ended, because it is unhealthy", process=self.process, reason=self._dead)
            await self._terminate(asyncio.get_running_loop().time() + self._unhealthy_grace())

    def _on_opinion(self, opinion: Opinion) -> None:
        self._dead = opinion.dead
        self._show(started=opinion.started, ready=opinion.ready and not opinion.dead)

    def _unhealthy_grace(self) -> int:
        probes = (self.container.liveness_probe, self.container.startup_probe)
        own = [probe.termination_grace_period_seconds for probe in probes if probe and probe.termination_grace_period_seconds]
        return own[0] if own else self._setting.grace

    # --- ending

    async def _pre_stop(self) -> None:
        handler = self.container.lifecycle.pre_stop
        if handler is None:
            return
        try:
            if handler.sleep:
                await asyncio.sleep(handler.sleep.seconds)
            elif handler.exec:
                await self.run_command(handler.exec.command)
            elif handler.http_get:
                place = await self._setting.place()
                await Prober(network=place.network, addresses=place.addresses, container=self.container, run=self.run_command).get(
                    handler.http_get
                )
        except (OSError, EOFError, ValueError, LaunchFailure, ReferenceBroken, NotRunnable) as exc:
            _log.info("preStop failed; the program is ended all the same", process=self.process, reason=str(exc))

    async def _terminate(self, until: float) -> None:
        with suppress(UnknownProcess):
            # A first process of a PID namespace without a handler never hears SIGTERM: waiting for it would be in vain.
            if hears(self._pid, SIGTERM):
                await self._setting.launcher.signal(self.process, SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await self._over.wait()
            if self._running:
                await self._setting.launcher.signal(self.process, SIGKILL)
        await self._over.wait()

    # --- what is shown

    def _wait_because(self, reason: str, message: str) -> None:
        last = self.status.state if self.status.state.terminated else self.status.last_state
        self._show(state=ContainerState(waiting=Waiting(reason=reason, message=message)), last_state=last, ready=False, started=False)

    def _show_ending(self, ending: Ending) -> None:
        terminated = Terminated(
            exit_code=ending.exit_code,
            signal=ending.signal,
            reason=ending.reason,
            message=self._dead,
            started_at=ending.started_at,
            finished_at=ending.finished_at,
        )
        state = ContainerState(terminated=terminated)
        self._show(state=state, last_state=state, ready=False, started=False)

    def _show(self, **changes: Any) -> None:
        shown = self.status.model_copy(update=changes)
        if shown != self.status:
            self.status = shown
            self._setting.changed()


def _lasted(ending: Ending) -> float:
    if ending.started_at is None or ending.finished_at is None:
        return 0.0
    return (ending.finished_at - ending.started_at).total_seconds()


def _has_run(status: ContainerStatus) -> bool:
    return any((status.state.running, status.state.terminated, status.last_state.terminated))
