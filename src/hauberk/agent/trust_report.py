"""The agent's long talk with the authority: hears each Trust, and proves who on this machine has taken it on."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NoReturn

from hauberk.agent.citadel_client import CitadelClient, NotIssued
from hauberk.agent.trust import MachineTrust
from hauberk.identity.trust import Trust
from hauberk.identity.wire import Holder, Report
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock
from hauberk.kit.log import logger

# Looking whether the control plane is back costs a system call, so it is done often: its restart should go unnoticed.
RECONNECT: Final = Backoff(first=0.1, limit=1.0)
# Even if nothing changes: the control plane compares its clock with ours, and hears that we live.
REPORT_SECONDS: Final = 5.0
# While nothing is proven yet it is looked again so often, whoever may have forgotten to say that something has changed.
_UNPROVEN_SECONDS: Final = 0.5
# What changes within this span is told once; each thousand holders, whose report is some 150 kB, make it a second longer.
_GATHER_SECONDS: Final = 0.1
_HOLDERS_A_SECOND: Final = 1000

_log = logger("trust")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A holder with the Trust that its user has acknowledged; None: nothing was acknowledged yet.

    `unknown`: its user may be somebody who was told things by an agent before this one. `running`: whether there is a user at all.
    """

    holder: Holder
    trust: Trust | None
    unknown: bool = False
    running: bool = True


class TrustFollower:
    """Keeps `trust` as the authority has it, and the authority informed of what `holders` says.

    `all_known`: whether `holders` tells of everybody there is; before, this agent proves nothing. `on_contact` is called when the
    authority answers after it did not.
    """

    def __init__(
        self,
        client: CitadelClient,
        trust: MachineTrust,
        *,
        holders: Callable[[], Iterable[Held]],
        clock: Clock,
        all_known: Callable[[], bool] = lambda: True,
        on_contact: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._trust = trust
        self._holders = holders
        self._clock = clock
        self._all_known = all_known
        self._on_contact = on_contact
        self._changed = asyncio.Event()
        self._confirmed: tuple[Trust, ...] = ()
        self.problem = "the control plane has not been reached yet"

    def holders_changed(self) -> None:
        """What `holders` says may be another by now: the authority hears of it in a moment."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Follows until cancelled, whenever there is somebody to follow."""
        failures = 0
        while True:
            try:
                await self._follow()
            except NotIssued as exc:
                if str(exc) != self.problem:
                    _log.info("the control plane is not heard", reason=str(exc))
                failures = 1 if self._confirmed else failures + 1
                self.problem = str(exc)
            self._confirmed = ()
            await asyncio.sleep(RECONNECT.delay(failures, random.uniform(-1.0, 1.0)))  # noqa: S311 - spreads load only

    def report(self) -> Report:
        """What is proven now.

        Sequences are said only of what this very stream has told: those of a control plane that was restored from a backup count
        anew, and an old number must not prove a new thing.
        """
        held = tuple(self._holders())
        # Who is not listed has ended, as the authority understands it: an agent that has just begun must not say so of its pods.
        # And while it is not known what an Envoy holds, this agent has not done its part.
        confirmed = self._trust.kept and self._all_known() and not any(each.unknown for each in held)
        own = self._sequence(self._trust.current.value) if confirmed else 0
        holders = tuple(replace(each.holder, sequence=self._sequence(each.trust)) for each in held)
        return Report(sequence=own, node_time=self._clock.now(), holders=holders)

    def _sequence(self, trust: Trust | None) -> int:
        return trust.sequence if trust is not None and any(trust is each for each in self._confirmed) else 0

    async def _follow(self) -> None:
        async for trust in self._client.follow(self._reports()):
            if await self._trust.take(trust):
                self._confirm()
                self._changed.set()

    def _confirm(self) -> None:
        current = self._trust.current.value
        if current is None:
            return
        first = not self._confirmed
        # An Envoy may still be one or two behind; who is further behind has proven nothing that anybody waits for.
        self._confirmed = (*(each for each in self._confirmed if each is not current), current)[-8:]
        if first:
            self.problem = ""
            self._on_contact()

    async def _reports(self) -> AsyncIterator[Report]:
        told: Report | None = None
        while True:
            report = self.report()
            if told is None or _is_news(report, told):
                told = report
                yield report
            await asyncio.sleep(_GATHER_SECONDS + len(report.holders) / _HOLDERS_A_SECOND)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_SECONDS if report.sequence else _UNPROVEN_SECONDS):
                    await self._changed.wait()
            self._changed.clear()


def _is_news(report: Report, told: Report) -> bool:
    late = report.node_time - told.node_time >= timedelta(seconds=REPORT_SECONDS) or report.node_time < told.node_time
    return late or replace(report, node_time=told.node_time) != told
