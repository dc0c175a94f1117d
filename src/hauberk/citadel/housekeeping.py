"""What the authority does by itself: it goes on with an exchange, retires keys that nothing depends on, forgets what is over."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NoReturn

from hauberk.citadel import slots
from hauberk.citadel.agreed_time import AgreedTime
from hauberk.citadel.authorities import Authorities, NoIssuer, certificate_of
from hauberk.citadel.exchange import Exchange, ExchangeRefused
from hauberk.citadel.finishing import finished
from hauberk.citadel.ground import Ground
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.roster import Roster
from hauberk.citadel.skew import Skew, find_skews
from hauberk.citadel.state import StateUnusable
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.citadel.state_issued import count_holders, count_living, prune_issued
from hauberk.citadel.succession import Succession
from hauberk.identity.event import Event, EventKind
from hauberk.kit.log import logger

# Proof comes as reports, which wake it; this is for what passes with time alone: certificates expire, keys come of age.
LONGEST_SLEEP: Final = 1.0
_LEAST_SLEEP: Final = 0.05
_SHARE: Final = 9  # times as long as it took, it rests
_PRUNE_EVERY: Final = timedelta(minutes=10)
_COUNT_EVERY: Final = timedelta(seconds=10)
_SPREAD_EVERY: Final = timedelta(minutes=1)
# Of its life; what is left is enough for the slowest machine to be told of the next, and to be switched on again before.
ROOT_DUE_SHARE: Final = 0.8

_log = logger("citadel")


class Housekeeping:
    """`tidy` does all that is due now; `run` does so whenever something has happened, and every second."""

    def __init__(self, ground: Ground, authorities: Authorities, succession: Succession, exchange: Exchange, roster: Roster) -> None:
        self._ground = ground
        self._authorities = authorities
        self._succession = succession
        self._exchange = exchange
        self._roster = roster
        self._agreed = AgreedTime(ground.clock)
        self._pruned: datetime | None = None
        self._counted: datetime | None = None
        self._spread: datetime | None = None
        self._failure = ""
        self.skews: tuple[Skew, ...] = ()

    async def run(self) -> NoReturn:
        """Until cancelled. What fails (a full disk, a token that was pulled out) is told once and tried again."""
        while True:
            self._roster.changed.clear()
            begin = self._ground.clock.monotonic()
            try:
                await self.tidy()
                self._failure = ""
            except (StateUnusable, KeyUnreadable, NoIssuer, OSError) as exc:
                if str(exc) != self._failure:
                    _log.error("the authority cannot do what is due", reason=str(exc))
                self._failure = str(exc)
            # Thousands of agents report hundreds of times a second; most of the time belongs to whoever wants a certificate.
            await asyncio.sleep(max(_LEAST_SLEEP, _SHARE * (self._ground.clock.monotonic() - begin)))
            try:
                await asyncio.wait_for(self._roster.changed.wait(), LONGEST_SLEEP)
            except TimeoutError:
                continue

    async def tidy(self) -> None:
        """All that is due now is done."""
        now = self._ground.clock.now()
        self._judge_clocks(now)
        await self._outrun()
        while await self._exchange.advance():
            pass
        if not self._exchange.going_on:
            await self._succession.advance(self._exchange.facts, now)
        await self._renew_root(now)
        await self._retire_issuing(now)
        if _is_over(self._spread, _SPREAD_EVERY, now):
            self._spread = now
            await self._ground.publication.spread(await asyncio.to_thread(count_holders, self._ground.state, now))
        if _is_over(self._pruned, _PRUNE_EVERY, now):
            self._pruned = now
            if (certain := self._agreed.look()) is not None:
                await self._ground.state.write(prune_issued(certain))
        if self._ground.ledger.pending:
            await self._ground.flush()

    async def _outrun(self) -> None:
        """No agent has heard of a later Trust than ours: else it would take ours for an old one."""
        await self._ground.publication.outrun(*(report.sequence for report in self._roster.reports.values()))

    async def _renew_root(self, now: datetime) -> None:
        root = slots.active(self._authorities.rows, Kind.ROOT)
        if root is None or self._exchange.going_on or not is_root_due(root, now) or not self._authorities.has_key(root.id):
            return
        try:
            await self._exchange.begin("citadel: the root nears its end")
        except ExchangeRefused:
            return

    async def _retire_issuing(self, now: datetime) -> None:
        """Former issuing keys under the root that signs, of which nothing lives, are retired, and their keys destroyed."""
        rows = self._authorities.rows
        root = slots.active(rows, Kind.ROOT)
        old = [row for row in slots.below(rows, root.id) if row.slot is Slot.OLD] if root else []
        if not old or not _is_over(self._counted, _COUNT_EVERY, now):
            return
        self._counted = now
        living = await asyncio.to_thread(count_living, self._ground.state, now)
        used = set(living) | {holder.authority_id for _, holder in self._roster.holders()}
        if over := [row.id for row in old if row.id not in used]:
            changed = slots.retire(rows, over, now)
            await finished(self._retire(changed, now))

    async def _retire(self, changed: tuple[AuthorityRow, ...], now: datetime) -> None:
        crls = await asyncio.to_thread(self._exchange.refusals.crls, slots.merged(self._authorities.rows, changed))
        await self._ground.publication.publish(lambda trust: replace(trust, crls=crls), self._authorities.write(changed))
        self._authorities.take(changed)
        for row in changed:
            await asyncio.to_thread(self._authorities.destroy, row)
        events = [Event(time=now, kind=EventKind.AUTHORITY_RETIRED, subject=row.id, outcome="done", by="citadel") for row in changed]
        await self._ground.audit(*events)

    def _judge_clocks(self, now: datetime) -> None:
        ahead = {node: agent.ahead for node, agent in self._roster.agents.items() if agent.ahead is not None}
        skews = find_skews(ahead)
        known = {skew.node for skew in self.skews}
        for skew in skews:
            if skew.node not in known:
                _log.warning("clocks differ", node=skew.node or "control plane", reason=str(skew))
                event = Event(time=now, kind=EventKind.CLOCK_SKEW, subject=skew.node or "control plane", outcome=str(skew))
                self._ground.ledger.record(event)
        self.skews = skews


def _is_over(last: datetime | None, span: timedelta, now: datetime) -> bool:
    """Whether `span` has passed since `last`, or the clock was set back to before it."""
    return last is None or not timedelta() <= now - last < span


def is_root_due(root: AuthorityRow, now: datetime) -> bool:
    """Whether it is time to prepare the next root."""
    certificate = certificate_of(root)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_before_utc + ROOT_DUE_SHARE * life
