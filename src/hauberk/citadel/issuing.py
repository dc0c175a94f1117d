"""A certificate, from the request to the reply: limits, the key and who holds it, the template, the signature, the records."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from hauberk.citadel.attestation import AttestationRefused, Attested, Attestor, Caller, Refusals
from hauberk.citadel.authorities import Issuing, NoIssuer
from hauberk.citadel.casting import Caster
from hauberk.citadel.ground import Ground
from hauberk.citadel.group_commit import GroupCommit
from hauberk.citadel.rate_limit import RateLimit, TooMany
from hauberk.citadel.rotation import holder_name
from hauberk.citadel.serials import next_serial, serial_text
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state_issued import IssuedRow, write_issued, write_revoked
from hauberk.citadel.succession import Succession
from hauberk.identity.csr import InvalidCsr, read_public_key_der
from hauberk.identity.event import Event, EventKind
from hauberk.identity.template import InvalidTemplate, PublicKey
from hauberk.identity.trust_bundle import to_pem
from hauberk.identity.wire import IssueReply, IssueRequest

_UNDELIVERED: Final = "never given to anybody: the root was exchanged while it was written down"
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
# One event for so many seconds of refusing one caller for his haste: else the attack would write the ledger.
_QUIET_SECONDS: Final = 1.0


class InvalidLifetime(ValueError):
    """The asked-for life is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that is on record, with its chain, leaf first and without the root."""

    row: IssuedRow
    chain_der: tuple[bytes, ...]

    @property
    def chain_pem(self) -> tuple[str, ...]:
        """The same for a file."""
        return tuple(to_pem(x509.load_der_x509_certificate(der)) for der in self.chain_der)


class Issuer:
    """Signs what has been attested. `attestor` and `refusals` may be changed by who composes the authority."""

    def __init__(self, ground: Ground, succession: Succession, settings: CitadelSettings, attestor: Attestor, refusals: Refusals) -> None:
        self.attestor = attestor
        self.refusals = refusals
        self._ground = ground
        self._succession = succession
        self._settings = settings
        self._limit = RateLimit(rate=settings.issue_rate, burst=settings.issue_burst)
        self._hasty: dict[str, float] = {}
        self._caster = Caster()
        self._records = GroupCommit[IssuedRow](self._write)

    async def issue(self, request: IssueRequest, caller: Caller) -> IssueReply:
        """What `caller` is to be answered; refusals are events.

        Raises TooMany, InvalidCsr, InvalidLifetime, AttestationRefused, NoIssuer, StateUnusable.
        """
        self._take(caller)
        try:
            # First whether the request is whole: who asks for what is looked up only for one that could be granted.
            public_key = read_public_key_der(request.csr_der)
            attested = self.attestor.attest(request.subject, caller)
            if request.lifetime is not None:
                attested = replace(attested, lifetime=asked_life(self._settings, request.lifetime, attested.lifetime))
            issued = await self.issue_to(attested, public_key, by=f"node {caller.node}")
        except (InvalidCsr, InvalidLifetime, AttestationRefused) as exc:
            self._refused(holder_name(request.subject, caller.node), caller, exc)
            raise
        sequence = self._ground.publication.trust.sequence
        return IssueReply(chain_der=issued.chain_der, trust_sequence=sequence, authority_id=issued.row.authority_id)

    async def issue_to(self, attested: Attested, public_key: PublicKey, *, by: str) -> Issued:
        """A certificate for whom has been attested, without limit of rate; `public_key` must have been proven and judged.

        Raises AttestationRefused if the identity, its holder or its machine is revoked.
        """
        if (reason := self._refusal(attested)) is not None:
            raise AttestationRefused(reason)
        while True:
            now = self._ground.clock.now()
            issuing = await self._succession.current(now)
            issued = await self._signed(issuing, attested, public_key, now)
            await self._record(issued, attested, by, now)
            if (reason := self._refusal(attested)) is not None:
                # Revoked while it was written down. Whoever revoked may not have seen it, so nobody may be given it.
                await self._ground.state.write(write_revoked(issued.row.serial, now, reason))
                raise AttestationRefused(reason)
            if issuing.id not in self._ground.publication.trust.renew:
                return issued
            # The root was exchanged meanwhile, and nobody may be given anything below the old one any more.
            await self._ground.state.write(write_revoked(issued.row.serial, now, _UNDELIVERED))

    def _refusal(self, attested: Attested) -> str | None:
        return self.refusals.reason(attested.spiffe_id, attested.holder, attested.node)

    async def _signed(self, issuing: Issuing, attested: Attested, public_key: PublicKey, now: datetime) -> Issued:
        serial = next_serial()
        lifetime = attested.lifetime or self._settings.certificate_lifetime
        try:
            leaf = await self._caster.leaf(issuing, attested, public_key, serial=serial, now=now, lifetime=lifetime)
        except InvalidTemplate as exc:
            raise NoIssuer(f"no certificate can be signed now: {exc}") from exc
        row = IssuedRow(
            serial=serial_text(serial),
            spiffe_id=str(attested.spiffe_id),
            holder=attested.holder,
            node=attested.node,
            authority_id=issuing.id,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            evidence=_ENCODER.encode(dict(attested.evidence)),
        )
        return Issued(row=row, chain_der=(leaf.der, *issuing.chain_der))

    async def _record(self, issued: Issued, attested: Attested, by: str, now: datetime) -> None:
        row = issued.row
        known = {"holder": row.holder, "node": row.node, "serial": row.serial, "authority": row.authority_id}
        evidence = {**attested.evidence, **known, "notAfter": row.not_after.isoformat()}
        event = Event(time=now, kind=EventKind.ISSUED, subject=row.spiffe_id, outcome="issued", by=by, evidence=evidence)
        self._ground.ledger.record(event)
        await self._records.add(row)

    def _write(self, rows: list[IssuedRow]) -> "asyncio.Future[None]":
        def work() -> None:
            self._ground.state.commit(*write_issued(rows))
            self._ground.ledger.flush()

        return self._ground.state.begin(work)

    def _take(self, caller: Caller) -> None:
        now = self._ground.clock.monotonic()
        try:
            self._limit.take(caller.node, now)
        except TooMany as exc:
            if now - self._hasty.get(caller.node, now - _QUIET_SECONDS) >= _QUIET_SECONDS:
                self._hasty[caller.node] = now
                self._refused(f"node {caller.node}", caller, exc)
            raise

    def _refused(self, subject: str, caller: Caller, reason: Exception) -> None:
        evidence = {**dict(caller.evidence), "node": caller.node}
        now = self._ground.clock.now()
        self._ground.ledger.record(
            Event(time=now, kind=EventKind.REFUSED, subject=subject, outcome=str(reason), by=f"node {caller.node}", evidence=evidence)
        )


def asked_life(settings: CitadelSettings, asked: timedelta, configured: timedelta | None) -> timedelta:
    """What is asked for, but not longer than anybody may; raises InvalidLifetime below a second, the least that a certificate can say."""
    if asked < timedelta(seconds=1):
        raise InvalidLifetime(f"a certificate cannot live {asked.total_seconds():.0f} s: ask for a second at least")
    return min(asked, max(settings.maximum_lifetime, configured or settings.certificate_lifetime))
