"""A new issuing key under a root that is trusted already: active at once, or, where proxies have revocation lists, when all have its own.

A proxy that has lists refuses every certificate whose issuer's list it has not; so the list goes first, and is proven, like a root.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from hauberk.citadel import slots
from hauberk.citadel.attestation import Refusals
from hauberk.citadel.authorities import Authorities, Issuing, NoIssuer
from hauberk.citadel.finishing import finished
from hauberk.citadel.ground import Ground
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.rotation import Facts, Waiting, unconfirmed
from hauberk.citadel.serials import next_serial
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state import Write
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.identity.event import Event, EventKind
from hauberk.kit.log import logger

_log = logger("citadel")


class Succession:
    """Who signs leaves, and who comes after him."""

    def __init__(self, ground: Ground, authorities: Authorities, settings: CitadelSettings, refusals: Refusals) -> None:
        self.refusals = refusals
        self.waiting: Waiting | None = None
        self._ground = ground
        self._authorities = authorities
        self._settings = settings
        self._changing = asyncio.Lock()
        self._failure = ""
        # Whatever was confirmed before the opening must be confirmed again: it may have been of another past.
        self._since = ground.publication.trust.sequence

    async def current(self, now: datetime) -> Issuing:
        """The issuing authority, renewed if it is due; raises NoIssuer."""
        issuing = self._authorities.issuing
        if not issuing.is_due(now):
            return issuing
        async with self._changing:
            issuing = self._authorities.issuing
            if issuing.is_due(now):
                await self._renew(issuing, now)
            return self._authorities.issuing

    async def succeed(self, now: datetime) -> AuthorityRow:
        """A new issuing key signs from now on, or (its slot says so) as soon as everybody would believe it; raises NoIssuer.

        One that waits for that already is the one: another would only begin to wait anew.
        """
        async with self._changing:
            at_once = not self.refusals.in_force
            waiting = None if at_once else self.prepared
            return waiting or await self._succeed(now, at_once=at_once)

    async def succeed_with(self, made: AuthorityRow, now: datetime, *writes: Write) -> bool:
        """The same with an authority made elsewhere, in slot prepared, whose key is in the key store already; whether it signs at once.

        `writes` are made with it, or not at all.
        """
        async with self._changing:
            at_once = not self.refusals.in_force
            await self._follow(made, now, *writes, at_once=at_once)
            return at_once

    async def advance(self, facts: Callable[[datetime], Facts], now: datetime) -> None:
        """A successor that everybody believes by now signs; `waiting` says who does not. `facts` are asked for only if there is one."""
        prepared = self.prepared
        if prepared is None:
            self.waiting = None
            return
        missing = unconfirmed(self._since, facts(now))
        self.waiting = Waiting("to have the new issuing key's revocation list", missing) if missing else None
        if not missing:
            async with self._changing:
                if self.prepared == prepared:
                    await self._activate(prepared, now)

    @property
    def prepared(self) -> AuthorityRow | None:
        """The issuing authority under the root that signs which waits to be believed."""
        rows = self._authorities.rows
        root = slots.active(rows, Kind.ROOT)
        waiting = [row for row in slots.below(rows, root.id) if row.slot is Slot.PREPARED] if root else []
        return max(waiting, key=lambda row: (row.created, row.id), default=None)

    async def _renew(self, issuing: Issuing, now: datetime) -> None:
        """What is due is under way; one that cannot be used any more (or yet) is replaced at once, since worse it cannot become."""
        certificate = issuing.certificate
        usable = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
        wait = usable and self.refusals.in_force
        if wait and self.prepared is not None:
            return
        try:
            await self._succeed(now, at_once=not wait)
        except (NoIssuer, KeyUnreadable) as exc:
            if not usable:
                raise NoIssuer(f"the issuing key cannot be used now, nor renewed: {exc}") from exc
            # The root is offline, or its key was damaged: the old one is used to its end. Told once, not for each certificate.
            if str(exc) != self._failure:
                _log.warning("the issuing key is due and cannot be renewed", id=issuing.id, reason=str(exc))
            self._failure = str(exc)

    async def _succeed(self, now: datetime, *, at_once: bool) -> AuthorityRow:
        authorities = self._authorities
        root = slots.active(authorities.rows, Kind.ROOT)
        if root is None:
            raise NoIssuer("there is no root: run `hauberk ca rotate --root`")
        made = await asyncio.to_thread(authorities.make_issuing, root, next_serial(), now, self._settings.issuing_lifetime)
        _log.info("issuing certificate made", id=made.id, root=root.id)
        await self._follow(made, now, at_once=at_once)
        return authorities.find(made.id) or made

    async def _follow(self, made: AuthorityRow, now: datetime, *writes: Write, at_once: bool) -> None:
        if at_once:
            await self._activate(made, now, *writes)
        else:
            await self._write((*slots.overtaken(self._authorities.rows, made, now), made), now, *writes)
            self._since = self._ground.publication.trust.sequence

    async def _activate(self, successor: AuthorityRow, now: datetime, *writes: Write) -> None:
        await self._write(slots.succeed(self._authorities.rows, successor, now), now, *writes)

    async def _write(self, changed: tuple[AuthorityRow, ...], now: datetime, *writes: Write) -> None:
        """The rows have changed, and the lists of whoever is trusted by them are on their way."""
        await finished(self._make(changed, now, *writes))

    async def _make(self, changed: tuple[AuthorityRow, ...], now: datetime, *writes: Write) -> None:
        authorities, refusals = self._authorities, self.refusals
        rows = slots.merged(authorities.rows, changed)
        crls = await asyncio.to_thread(refusals.crls, rows)
        await self._ground.publication.publish(lambda trust: replace(trust, crls=crls), authorities.write(changed), *writes)
        authorities.take(changed)
        kinds = {Slot.PREPARED: EventKind.AUTHORITY_PREPARED, Slot.ACTIVE: EventKind.AUTHORITY_ACTIVATED, Slot.OLD: EventKind.AUTHORITY_OLD}
        events = [Event(time=now, kind=kinds[row.slot], subject=row.id, outcome="done", evidence={"root": row.parent}) for row in changed]
        await self._ground.audit(*events)
