"""Watching one running program: has it started, is it ready, does it live?"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hauberk.agent.listening import listening_ports
from hauberk.agent.probe import EARLY_DELAYS, Health, early_delays
from hauberk.agent.prober import Prober
from hauberk.api.container import Container
from hauberk.api.probe import Probe

# Without any probe, a program that says which ports it will listen on is given so long to do it before requests are sent to it anyway.
LISTEN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What is thought of a program."""

    started: bool = False
    ready: bool = False
    dead: str = ""  # why it must be ended; empty while it may live


class Watch:
    """Forms an opinion of one program and says so by `heard`, whenever it changes."""

    def __init__(self, container: Container, prober: Prober, pid: int, before: Opinion, heard: Callable[[Opinion], None]) -> None:
        self._container = container
        self._prober = prober
        self._pid = pid
        self._opinion = before
        self._heard = heard

    async def run(self) -> None:
        """Asks until cancelled, or until the program has to be ended."""
        if not self._opinion.started:
            await self._await_start()
            if self._opinion.dead:
                return
        readiness, liveness = self._container.readiness_probe, self._container.liveness_probe
        self._form(Opinion(started=True, ready=readiness is None or self._opinion.ready))
        async with asyncio.TaskGroup() as tasks:
            if readiness:
                tasks.create_task(self._ask(readiness, self._on_readiness, Health(good=True if self._opinion.ready else None)))
            if liveness:
                tasks.create_task(self._ask(liveness, self._on_liveness, Health(good=True)))

    async def _await_start(self) -> None:
        if (probe := self._container.startup_probe) is not None:
            await self._ask(probe, self._on_startup, Health())
        elif self._container.readiness_probe is None:
            await self._await_ports()

    async def _await_ports(self) -> None:
        ports = {port.container_port for port in self._container.ports if port.protocol == "TCP"}
        delays: Iterable[float] = (*EARLY_DELAYS, *early_delays(LISTEN_SECONDS - sum(EARLY_DELAYS)))
        for delay in delays:
            if ports <= listening_ports(self._pid):
                return
            await asyncio.sleep(delay)

    async def _ask(self, probe: Probe, judge: Callable[[Health, str | None], bool], health: Health) -> None:
        """Asks every period; `judge` says with False that the question is settled."""
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            answer = await self._prober.ask(probe)
            health = health.after(answer is None, probe)
            if not judge(health, answer):
                return
            delays = early_delays(probe.period_seconds) if health.good is None else (float(probe.period_seconds),)
            for delay in delays[:-1]:
                await asyncio.sleep(delay)
                if await self._prober.ask(probe) is None:
                    health = health.after(True, probe)
                    if not judge(health, None):
                        return
                    if health.good:
                        break
            await asyncio.sleep(delays[-1])

    def _on_startup(self, health: Health, answer: str | None) -> bool:
        if health.good is False:
            self._form(Opinion(dead=f"startup probe failed: {answer}"))
        return health.good is None

    def _on_readiness(self, health: Health, _: str | None) -> bool:
        self._form(Opinion(started=True, ready=bool(health.good), dead=self._opinion.dead))
        return True

    def _on_liveness(self, health: Health, answer: str | None) -> bool:
        if health.good is False:
            self._form(Opinion(started=True, dead=f"liveness probe failed: {answer}"))
            return False
        return True

    def _form(self, opinion: Opinion) -> None:
        if opinion != self._opinion:
            self._opinion = opinion
            self._heard(opinion)
