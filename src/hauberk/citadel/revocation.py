"""Revocations: what is not believed any more, kept, published to every agent, and asked for before anything is issued."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NoReturn

from hauberk.citadel import slots
from hauberk.citadel.agreed_time import AgreedTime
from hauberk.citadel.authorities import Authorities
from hauberk.citadel.ground import Ground
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.revocation_lists import Listed, RevocationLists
from hauberk.citadel.state import StateUnusable, Write
from hauberk.citadel.state_issued import (
    KEPT_AFTER_EXPIRY,
    IssuedRow,
    read_issued,
    read_issued_of,
    read_issued_to,
    write_revoked,
    write_unrevoked,
)
from hauberk.citadel.state_revocations import RevocationRow, What, forget_revocations, read_revocations, write_revocation
from hauberk.identity.event import Event, EventKind
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust import Revoked, Trust
from hauberk.kit.log import logger

_POD: Final = "pod "
_Key = tuple[What, str]
_REVIEWED_EVERY: Final = timedelta(minutes=10)

_log = logger("citadel")


class NotRevoked(LookupError):
    """There is no such revocation to be undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be revoked; `name` as people say it, see `RevocationRow`."""

    what: What
    value: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A revocation and what it came to: the certificates that it concerns and that lived then, and the Trust that says so."""

    row: RevocationRow
    certificates: tuple[IssuedRow, ...]
    sequence: int


class Revocations:
    """`Refusals` of the authority, and the part of the Trust that says who is revoked. One event loop uses it.

    `banned`: whether a machine is shut out, which others decide.
    """

    def __init__(self, ground: Ground, authorities: Authorities, *, banned: Callable[[str], bool] = lambda _node: False) -> None:
        self._ground = ground
        self._authorities = authorities
        self._banned = banned
        self._agreed = AgreedTime(ground.clock)
        self._rows = {(row.what, row.value): row for row in read_revocations(ground.state)}
        self._lists = RevocationLists(authorities, ground.clock.now)
        self._listed = self._find(ground.clock.now())
        self._changing = asyncio.Lock()
        crls = self._lists.build(authorities.rows, self._listed.values())
        ground.publication.preset(lambda trust: replace(trust, revoked=self._revoked(), crls=crls))

    # --- what is asked before anything is issued

    def reason(self, spiffe_id: SpiffeId, holder: str, node: str) -> str | None:
        """Why nobody may have this identity now; None: he may."""
        found = self._rows.get((What.IDENTITY, str(spiffe_id))) or self._rows.get((What.POD, pod_of(holder)))
        if found is not None:
            return f"{found.told}; `hauberk ca revoke --undo` takes that back"
        return f"node {node} was banned" if self._banned(node) else None

    def banned(self, node: str) -> bool:
        """Whether the machine is shut out."""
        return self._banned(node)

    def is_listed(self, serial: str) -> bool:
        """Whether the certificate of that serial must not be believed."""
        return serial in self._listed

    # --- what is known

    @property
    def all(self) -> tuple[RevocationRow, ...]:
        """Every revocation, the oldest first."""
        return tuple(sorted(self._rows.values(), key=lambda row: (row.at, row.what, row.value)))

    def certificates(self, target: Target) -> tuple[IssuedRow, ...]:
        """Those that revoking `target` would concern and that live. Blocks for as long as the database takes."""
        now = self._ground.clock.now()
        return tuple(row for row in self._issued(target.what, target.value, target.name) if row.not_after > now)

    # --- for who publishes a change of the authorities

    def crls(self, rows: slots.Rows) -> tuple[bytes, ...]:
        """The lists that must go with a Trust in which `rows` are the authorities."""
        return self._lists.build(rows, self._listed.values())

    @property
    def in_force(self) -> bool:
        """Whether proxies have lists, and so believe no issuer whose list they have not."""
        return bool(self._ground.publication.trust.crls)

    @property
    def problem(self) -> str:
        """Why proxies do not have all the lists that they should; empty: they have."""
        return self._lists.problem

    def concerns(self) -> Iterator[str]:
        """What people should know."""
        if self.problem:
            yield f"{self.problem}; who is revoked is refused by the proxies themselves, and open connections end"

    # --- changes

    async def revoke(self, target: Target, *, by: str, reason: str = "") -> Revocation:
        """It is revoked, on disk, and on its way to every agent; again: it stays as it was."""
        (done,) = await self.revoke_all((target,), by=by, reason=reason)
        return done

    async def revoke_all(self, targets: Sequence[Target], *, by: str, reason: str = "") -> tuple[Revocation, ...]:
        """All of them at once: one transaction, one Trust, one list."""
        async with self._changing:
            now = self._ground.clock.now()
            wanted = [self._row(target, now, by, reason) for target in targets]
            fresh = {(row.what, row.value): row for row in wanted if (row.what, row.value) not in self._rows}
            # First in memory: from this moment on nothing is issued, and what is being issued now is asked about again.
            self._rows |= fresh
            living = await asyncio.to_thread(lambda: [self.certificates(target) for target in targets])
            try:
                await self._begin({key: held for key, held in zip(map(_key, targets), living, strict=True) if key in fresh}, now)
            except Exception:
                self._rows = {key: row for key, row in self._rows.items() if key not in fresh}
                raise
            sequence = self._ground.publication.trust.sequence
            rows = [self._rows[_key(target)] for target in targets]
            return tuple(Revocation(row=row, certificates=held, sequence=sequence) for row, held in zip(rows, living, strict=True))

    async def _begin(self, concerned: Mapping[_Key, tuple[IssuedRow, ...]], now: datetime) -> None:
        """What is new in memory is on disk, published and in the ledger."""
        if not concerned:
            return
        rows = {key: self._rows[key] for key in concerned}
        marks = (write_revoked(each.serial, now, rows[key].told) for key, living in concerned.items() for each in living)
        await self._publish(now, *map(write_revocation, rows.values()), *marks)
        await self._ground.audit(*(_event(EventKind.REVOKED, row, concerned[key], row.by) for key, row in rows.items()))
        for key, row in rows.items():
            _log.warning("revoked", what=row.what.value, value=row.value, by=row.by, reason=row.reason, certificates=len(concerned[key]))

    def _row(self, target: Target, now: datetime, by: str, reason: str) -> RevocationRow:
        until = self._until(target)
        return RevocationRow(what=target.what, value=target.value, name=target.name, at=now, by=by, reason=reason, until=until)

    async def undo(self, target: Target, *, by: str) -> Revocation:
        """It is believed again, with the certificates that it had; raises NotRevoked."""
        async with self._changing:
            now = self._ground.clock.now()
            row = self._rows.pop((target.what, target.value), None)
            if row is None:
                raise NotRevoked(f"{target.what.value} {target.name} is not revoked")
            living = await asyncio.to_thread(self.certificates, target)
            try:
                trust = await self._publish(now, forget_revocations((row,)), lifted=living)
            except Exception:
                self._rows[target.what, target.value] = row
                raise
            await self._ground.audit(_event(EventKind.REVOCATION_LIFTED, row, living, by, now))
            return Revocation(row=row, certificates=living, sequence=trust.sequence)

    async def run(self) -> NoReturn:
        """Forgets, from time to time, what has expired; what fails is tried again."""
        failure = ""
        while True:
            await asyncio.sleep(_REVIEWED_EVERY.total_seconds())
            try:
                await self.review()
                failure = ""
            except (StateUnusable, KeyUnreadable, OSError) as exc:
                if str(exc) != failure:
                    _log.error("revocations cannot be reviewed", reason=str(exc))
                failure = str(exc)

    async def review(self) -> None:
        """What has expired is listed no longer, and revocations of it are forgotten."""
        async with self._changing:
            now = self._agreed.look()
            if now is None:
                return
            over = tuple(row for row in self._rows.values() if row.until is not None and row.until < now)
            if not over and all(each.matters(now) for each in self._listed.values()):
                return
            before = self._rows
            self._rows = {key: row for key, row in before.items() if row not in over}
            try:
                await self._publish(now, *((forget_revocations(over),) if over else ()))
            except Exception:
                self._rows = before
                raise

    async def _publish(self, now: datetime, *writes: Write, lifted: Iterable[IssuedRow] = ()) -> Trust:
        self._listed = await asyncio.to_thread(self._find, now)
        cleared = tuple(write_unrevoked(each.serial) for each in lifted if each.serial not in self._listed)
        # Signed in a thread, where a token may take its time; what is then asked for below is known.
        await asyncio.to_thread(self.crls, self._authorities.rows)
        return await self._ground.publication.publish(
            lambda trust: replace(trust, revoked=self._revoked(), crls=self.crls(self._authorities.rows)), *writes, *cleared
        )

    # --- which certificates

    def _find(self, now: datetime) -> dict[str, Listed]:
        found: dict[str, Listed] = {}
        for row in self._rows.values():
            known = self._issued(row.what, row.value, row.name)
            for issued in known:
                one = Listed(
                    serial=issued.serial,
                    since=row.at,
                    authority_id=issued.authority_id,
                    pod=pod_of(issued.holder),
                    not_after=issued.not_after,
                )
                if one.matters(now):
                    found.setdefault(one.serial, one)
            if row.what is What.SERIAL and not known:
                found.setdefault(row.value, Listed(serial=row.value, since=row.at, not_after=row.until))
        return found

    def _issued(self, what: What, value: str, name: str) -> tuple[IssuedRow, ...]:
        state = self._ground.state
        match what:
            case What.SERIAL:
                found = read_issued(state, serial=value)
                return () if found is None else (found,)
            case What.POD:
                return tuple(row for row in read_issued_to(state, holder_prefix=f"{_POD}{name} {value}") if pod_of(row.holder) == value)
            case What.IDENTITY:
                return read_issued_of(state, spiffe_id=value)

    def _until(self, target: Target) -> datetime | None:
        """When the revocation is over by itself: of one certificate, when it has expired; one that nobody knows has no end."""
        found = self._issued(target.what, target.value, target.name) if target.what is What.SERIAL else ()
        return found[0].not_after + KEPT_AFTER_EXPIRY if found else None

    def _revoked(self) -> Revoked:
        return Revoked(
            serials=frozenset(self._listed),
            identities=frozenset(value for what, value in self._rows if what is What.IDENTITY),
            pods=frozenset(value for what, value in self._rows if what is What.POD),
            holders=frozenset((each.serial, each.pod) for each in self._listed.values()),
        )


def _key(target: Target) -> _Key:
    return target.what, target.value


def pod_of(holder: str) -> str:
    """The uid of the pod that `holder` (as the ledger names it) is; empty if it is none."""
    return holder.rpartition(" ")[2] if holder.startswith(_POD) else ""


def _event(kind: EventKind, row: RevocationRow, living: tuple[IssuedRow, ...], by: str, when: datetime | None = None) -> Event:
    subject = row.value if row.what is What.IDENTITY else f"{row.what.value} {row.name}"
    evidence = {
        "what": row.what.value,
        "value": row.value,
        "reason": row.reason,
        "serials": tuple(each.serial for each in living),
        "holders": tuple(dict.fromkeys(each.holder for each in living)),
    }
    outcome = "revoked" if kind is EventKind.REVOKED else "lifted"
    return Event(time=when or row.at, kind=kind, subject=subject, outcome=outcome, by=by, evidence=evidence)
