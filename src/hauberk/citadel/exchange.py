"""The exchange of the root as it is carried out: `rotation` decides, and each change is one transaction with the Trust that tells of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from hauberk.citadel import slots
from hauberk.citadel.attestation import Refusals
from hauberk.citadel.authorities import Authorities, certificate_of
from hauberk.citadel.finishing import finished
from hauberk.citadel.ground import Ground
from hauberk.citadel.roster import Roster
from hauberk.citadel.rotation import Facts, Step, Waiting, aborted, after, next_step
from hauberk.citadel.serials import next_serial
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state import Write
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.citadel.state_issued import IssuedRow, read_living, read_living_nodes
from hauberk.citadel.state_progress import Progress, Stage, read_progress, write_progress
from hauberk.identity.event import Event, EventKind, Evidence
from hauberk.identity.trust import Trust
from hauberk.identity.wire import Report
from hauberk.kit.log import logger

_KINDS = {
    Slot.PREPARED: EventKind.AUTHORITY_PREPARED,
    Slot.ACTIVE: EventKind.AUTHORITY_ACTIVATED,
    Slot.OLD: EventKind.AUTHORITY_OLD,
    Slot.RETIRED: EventKind.AUTHORITY_RETIRED,
}
READS: Final = 3  # chances that each reader of our bundle gets
_log = logger("citadel")


class Known(NamedTuple):
    """What the database says: machines whose certificates live, and what lives below the root that is on its way out."""

    nodes: dict[str, datetime]
    living: tuple[IssuedRow, ...]


class ExchangeRefused(RuntimeError):
    """No exchange of the root can begin now; the message says why."""


class Exchange:
    """At most one at a time; its progress is in the database, so that it goes on wherever it was interrupted."""

    def __init__(self, ground: Ground, authorities: Authorities, roster: Roster, settings: CitadelSettings, refusals: Refusals) -> None:
        self.refusals = refusals
        self._ground = ground
        self._authorities = authorities
        self._roster = roster
        self._settings = settings
        self._changing = asyncio.Lock()
        self.progress = read_progress(ground.state)
        self.waiting: Waiting | None = None

    @property
    def going_on(self) -> bool:
        """Whether there is one that is not over."""
        return self.progress is not None and self.progress.stage is not Stage.DONE

    def resume(self, now: datetime) -> None:
        """At the opening: the Trust says what the rows say, and what was confirmed before must be confirmed again.

        A root that is on its way in or out while nothing is under way was brought by an old copy of the database: it is led out.
        """
        publication = self._ground.publication
        publication.preset(lambda trust: self._told(trust, self._authorities.rows))
        sequence = publication.trust.sequence
        if self.progress is None or not self.going_on:
            self._lead_out_strays(sequence, now)
        elif self.progress.stage is not Stage.CONFIRM and not self._signs(self.progress.new) and self._signs(self.progress.old):
            # The keys of the new root were destroyed by an abort that an old copy of the database does not remember.
            self._lead_out(self.progress.old, self.progress.new, sequence, now)
        else:
            # What agents hold by a sequence of another past (an old backup was restored) proves nothing about this one.
            self.progress = replace(self.progress, since=sequence)
        publication.preset(lambda trust: self._told(trust, self._authorities.rows))

    def _lead_out_strays(self, sequence: int, now: datetime) -> None:
        root = slots.active(self._authorities.rows, Kind.ROOT)
        stray = next((row for row in slots.trusted_roots(self._authorities.rows) if row.slot is not Slot.ACTIVE), None)
        if root is not None and stray is not None:
            self._lead_out(root.id, stray.id, sequence, now)

    def _lead_out(self, new: str, old: str, sequence: int, now: datetime) -> None:
        changed = slots.exchange(self._authorities.rows, new=new, old=old, now=now)
        self.progress = Progress(stage=Stage.RENEW, new=new, old=old, since=sequence, started=now, entered=now, aborting=True, by="citadel")
        self._ground.state.commit(self._authorities.write(changed), write_progress(self.progress))
        self._authorities.take(changed)

    def _signs(self, root_id: str) -> bool:
        return any(self._authorities.has_key(row.id) for row in slots.below(self._authorities.rows, root_id))

    async def begin(self, by: str) -> Progress:
        """A new root with an issuing key below it is prepared and on its way to everybody; raises ExchangeRefused."""
        async with self._changing:
            old = self._replaceable()
            now = self._ground.clock.now()
            prepared = await asyncio.to_thread(self._prepare, now)
            return await self._begin(prepared, old, by, now)

    async def begin_with(self, prepared: Sequence[AuthorityRow], by: str, *writes: Write) -> Progress:
        """The same with authorities made elsewhere (an imported one): one root and the issuing ones below it, all in slot prepared.

        Keys of those that sign are in the key store already; `writes` are made with it, or not at all.
        """
        async with self._changing:
            return await self._begin(prepared, self._replaceable(), by, self._ground.clock.now(), *writes)

    async def abort(self, by: str) -> Progress:
        """The exchange goes back; raises NotAbortable."""
        async with self._changing:
            back = aborted(self.progress)
            now = self._ground.clock.now()
            await self._carry_out(Step.SWITCH, back, now, by)
            assert self.progress is not None
            return self.progress

    async def advance(self) -> bool:
        """One step, if its proof is there; whether one was made. `waiting` says what is missing."""
        async with self._changing:
            if self.progress is None or not self.going_on:
                self.waiting = None
                return False
            now = self._ground.clock.now()
            known = await asyncio.to_thread(self._known, now)
            match self._unread(self.progress, now) or next_step(self.progress, self._facts(known, now)):
                case Step() as step:
                    self.waiting = None
                    await self._carry_out(step, self.progress, now, self.progress.by)
                    return True
                case decided:
                    self.waiting = decided
                    return False

    def _unread(self, progress: Progress, now: datetime) -> Waiting | None:
        """Who is federated with us fetches our bundle when its hint says so, and refuses what the new root signs until then.

        Nobody tells us who reads it, so they are given time (SPIFFE Federation: three to five refresh hints before a key is used).
        """
        federation = self._settings.federation
        until = progress.entered + READS * federation.refresh
        if not federation.listen or progress.stage is not Stage.DISTRIBUTE or not progress.entered <= now < until:
            return None
        return Waiting("to read the new root in our bundle", (f"federated trust domains, which have until {until:%Y-%m-%d %H:%M:%S} UTC",))

    def _replaceable(self) -> AuthorityRow:
        root = slots.active(self._authorities.rows, Kind.ROOT)
        if self.going_on:
            raise ExchangeRefused("an exchange of the root is going on already: see `hauberk ca show`, or abort it")
        if root is None:
            raise ExchangeRefused("there is no root to replace")
        return root

    def _prepare(self, now: datetime) -> tuple[AuthorityRow, ...]:
        root = self._authorities.make_root(next_serial(), now, self._settings.root_lifetime)
        return root, self._authorities.make_issuing(root, next_serial(), now, self._settings.issuing_lifetime)

    async def _begin(self, prepared: Sequence[AuthorityRow], old: AuthorityRow, by: str, now: datetime, *writes: Write) -> Progress:
        root = next(row for row in prepared if row.kind is Kind.ROOT)
        progress = Progress(stage=Stage.DISTRIBUTE, new=root.id, old=old.id, since=0, started=now, entered=now, by=by)
        await self._change(prepared, progress, now, by, *writes)
        return self.progress or progress

    async def _carry_out(self, step: Step, progress: Progress, now: datetime, by: str) -> None:
        rows = self._authorities.rows
        match step:
            case Step.SWITCH:
                changed = slots.exchange(rows, new=progress.new, old=progress.old, now=now)
            case Step.RETIRE:
                changed = slots.retire(rows, {progress.old}, now)
            case Step.FINISH:
                changed = ()
                await asyncio.to_thread(self._destroy, progress.old)
        await self._change(changed, after(progress, step, 0, now), now, by)

    def _destroy(self, root_id: str) -> None:
        # Before the progress is written: whoever is killed between destroys them once more.
        for row in self._authorities.rows:
            if row.slot is Slot.RETIRED and root_id in (row.id, row.parent):
                self._authorities.destroy(row)

    async def _change(self, changed: Sequence[AuthorityRow], progress: Progress, now: datetime, by: str, *writes: Write) -> None:
        """Rows, progress, `writes` and the Trust's new sequence are one transaction; then memory follows, and everybody is told."""
        await finished(self._make(changed, progress, now, by, *writes))

    async def _make(self, changed: Sequence[AuthorityRow], progress: Progress, now: datetime, by: str, *writes: Write) -> None:

        def decide(trust: Trust) -> tuple[Trust, tuple[Write, ...]]:
            nonlocal progress
            progress = replace(progress, since=trust.sequence)
            told = self._told(trust, slots.merged(self._authorities.rows, changed))
            return told, (self._authorities.write(changed), write_progress(progress), *writes)

        # Signed where a token may take its time; what is then asked for on the event loop is known.
        await asyncio.to_thread(self.refusals.crls, slots.merged(self._authorities.rows, changed))
        await self._ground.publication.publish_with(decide)
        self._authorities.take(changed)
        self.progress = progress
        _log.info("exchange of the root", stage=progress.stage.value, new=progress.new, old=progress.old, aborting=progress.aborting)
        events = [Event(time=now, kind=_KINDS[row.slot], subject=row.id, outcome="done", by=by) for row in changed]
        evidence: dict[str, Evidence] = {"new": progress.new, "old": progress.old, "aborting": progress.aborting, "since": progress.since}
        step = Event(time=now, kind=EventKind.ROTATION_STEP, subject=progress.new, outcome=progress.stage.value, by=by, evidence=evidence)
        await self._ground.audit(step, *events)

    def facts(self, now: datetime) -> Facts:
        """What is known of everybody who is not shut out. Blocks for as long as the database takes."""
        return self._facts(self._known(now), now)

    def _known(self, now: datetime) -> Known:
        renewing = self.progress is not None and self.progress.stage is Stage.RENEW
        living = read_living(self._ground.state, now, sorted(self._leaving())) if renewing else ()
        return Known(read_living_nodes(self._ground.state, now), living)

    def _leaving(self) -> frozenset[str]:
        """The authorities below the root that is on its way out."""
        progress = self.progress
        return frozenset(row.id for row in slots.below(self._authorities.rows, progress.old)) if progress else frozenset()

    def _facts(self, known: Known, now: datetime) -> Facts:
        banned = self.refusals.banned
        silent = Report(sequence=0, node_time=now)  # connected, and has not said anything yet
        return Facts(
            reports={node: self._believed(agent.report or silent) for node, agent in self._roster.agents.items() if not banned(node)},
            expected={node: end for node, end in known.nodes.items() if not banned(node)},
            living=tuple(row for row in known.living if not banned(row.node)),
            leaving=self._leaving(),
        )

    def _believed(self, report: Report) -> Report:
        """`report` without those whose certificates nobody believes: they may not have others, so they would be waited for in vain."""
        holders = tuple(holder for holder in report.holders if not self.refusals.is_listed(holder.serial))
        return report if len(holders) == len(report.holders) else replace(report, holders=holders)

    def _told(self, trust: Trust, rows: slots.Rows) -> Trust:
        """`trust` with what the rows of authorities say."""
        roots = tuple(certificate_of(row) for row in slots.trusted_roots(rows))
        return replace(trust, x509_authorities=roots, renew=slots.to_renew(rows), crls=self.refusals.crls(rows))
