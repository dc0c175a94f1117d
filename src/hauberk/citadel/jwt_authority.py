"""The authority that signs JWT-SVIDs: which key does, and the token from the request to the reply.

Its rows are among the authorities'; its public keys are in the Trust, so that agents validate tokens without asking anybody.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NoReturn

from hauberk.citadel import jwt_slots, slots
from hauberk.citadel.attestation import AttestationRefused, Attested, Caller
from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import READS
from hauberk.citadel.federation_settings import FederationSettings
from hauberk.citadel.jwt_settings import JwtSettings
from hauberk.citadel.jwt_slots import Due, JwtStep, next_jwt_step
from hauberk.citadel.key_signer import KeySigner, jws_algorithm
from hauberk.citadel.key_store import KeyAlgorithm, KeyUnreadable, Signer
from hauberk.citadel.rate_limit import RateLimit, TooMany
from hauberk.citadel.rotation import Facts, holder_name, unconfirmed_agents
from hauberk.citadel.state import StateUnusable
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot, write_authorities
from hauberk.citadel.state_issued import read_living_nodes
from hauberk.identity.event import Event, EventKind, Evidence
from hauberk.identity.jwk_key import encode_public_key
from hauberk.identity.jwt_svid import assemble, build_signing_input
from hauberk.identity.trust import JwtKey, Trust
from hauberk.identity.wire import AgentSubject, InvalidMessage, Report, TokenReply, TokenRequest
from hauberk.kit.log import logger

MOST_AUDIENCES: Final = 32
LONGEST_AUDIENCE: Final = 1024  # characters
_TEND_SECONDS: Final = 1.0
# Of one subject: a program needs a token for each audience, and again every few minutes.
_SUBJECT_RATE: Final = 20.0
SUBJECT_BURST: Final = 200
_KINDS: Final = {
    Slot.PREPARED: EventKind.AUTHORITY_PREPARED,
    Slot.ACTIVE: EventKind.AUTHORITY_ACTIVATED,
    Slot.OLD: EventKind.AUTHORITY_OLD,
    Slot.RETIRED: EventKind.AUTHORITY_RETIRED,
}
_log = logger("citadel")


class JwtAuthority:
    """Stands beside the certificate authority `citadel`, on the same ground, and believes the same attestor and refusals."""

    def __init__(self, citadel: Citadel, settings: JwtSettings) -> None:
        self.settings = _read_in_time(settings, citadel.settings.federation)
        self._citadel = citadel
        self._ground = citadel.ground
        self._authorities = citadel.authorities
        self._limit = RateLimit(rate=citadel.settings.issue_rate, burst=citadel.settings.issue_burst)
        self._limit_each = RateLimit(rate=_SUBJECT_RATE, burst=SUBJECT_BURST)
        self._signer: tuple[str, Signer] | None = None
        # The Trust that must be confirmed before a prepared key may sign; taken anew at each opening, as its sequence is.
        self._since = 0

    @classmethod
    def open(cls, citadel: Citadel, settings: JwtSettings) -> "JwtAuthority":
        """There is a key, and the Trust names all that count. To be called after `Citadel.open` and before anybody is served."""
        opened = cls(citadel, settings)
        rows, now = opened._authorities.rows, opened._ground.clock.now()
        # A key that is lost signs nothing more; what it has signed is still to be believed.
        lost = [row for row in jwt_slots.published(rows) if row.slot is not Slot.OLD and not opened._authorities.has_key(row.id)]
        gone = tuple(replace(row, slot=Slot.OLD, last_expiry=now + settings.longest_token) for row in lost)
        changed = gone
        if slots.active(slots.merged(rows, gone), Kind.JWT) is None:
            changed = (*gone, replace(opened._make(now), slot=Slot.ACTIVE, activated=now))
        if changed:
            opened._ground.state.commit(write_authorities(changed))
            opened._authorities.take(changed)
        opened._ground.publication.preset(opened._told)
        opened._since = opened._ground.publication.trust.sequence
        return opened

    @property
    def trust(self) -> Trust:
        """What every agent is told now, the keys among it."""
        return self._ground.publication.trust

    async def run(self) -> NoReturn:
        """Keys are prepared, activated and retired when that is due, until cancelled."""
        failure = ""
        while True:
            try:
                await self.tend()
                failure = ""
            except (StateUnusable, KeyUnreadable, OSError) as exc:
                if str(exc) != failure:
                    _log.error("the keys of tokens cannot be tended", reason=str(exc))
                failure = str(exc)
            await asyncio.sleep(_TEND_SECONDS)

    async def tend(self) -> None:
        """All that is due now is done."""
        while (due := await self._due()) is not None:
            await self._do(due)

    async def rotate(self, by: str) -> str:
        """The next key is published, and will sign once every agent and the time outsiders need have confirmed it; its id."""
        prepared = [row for row in jwt_slots.published(self._authorities.rows) if row.slot is Slot.PREPARED]
        if prepared:
            return prepared[0].id
        row = await asyncio.to_thread(self._make, self._ground.clock.now())
        await self._change((row,), by)
        return row.id

    async def issue_token(self, request: TokenRequest, caller: Caller) -> TokenReply:
        """A token for whom the attestor finds the subject to be; every answer is an event, in which the token is not.

        Raises TooMany, InvalidMessage, AttestationRefused, NoIssuer, StateUnusable.
        """
        self._take_turn(holder_name(request.subject, caller.node), caller.node)
        try:
            _check_audience(request.audience)
            attested = self._attest(request, caller)
            lifetime = self._lifetime(request.lifetime)
        except (InvalidMessage, AttestationRefused) as exc:
            evidence: dict[str, Evidence] = {**dict(caller.evidence), "node": caller.node, "audience": request.audience}
            subject = holder_name(request.subject, caller.node)
            await self._audit(EventKind.TOKEN_REFUSED, subject, str(exc), f"node {caller.node}", evidence)
            raise
        return await self._signed(request.audience, attested, lifetime, caller)

    async def answer(self, request: bytes, caller: Caller) -> bytes:
        """`issue_token` as the service calls it (`service.serving(…, more={ISSUE_TOKEN: authority.answer})`)."""
        return (await self.issue_token(TokenRequest.decode(request), caller)).encode()

    # --- one token

    def _take_turn(self, subject: str, node: str) -> None:
        """Raises TooMany: what one pod asks for too often is not at the expense of its machine's others."""
        now = self._ground.clock.monotonic()
        self._limit.take(node, now)
        try:
            self._limit_each.take(f"{node} {subject}", now)
        except TooMany:
            self._limit.give_back(node)
            raise

    def _attest(self, request: TokenRequest, caller: Caller) -> Attested:
        if isinstance(request.subject, AgentSubject):
            raise AttestationRefused("an agent speaks for itself by its certificate, and has no tokens")
        issuer = self._citadel.issuer
        attested = issuer.attestor.attest(request.subject, caller)
        if (reason := issuer.refusals.reason(attested.spiffe_id, attested.holder, attested.node)) is not None:
            raise AttestationRefused(reason)
        return attested

    def _lifetime(self, asked: timedelta | None) -> timedelta:
        if asked is None:
            return self.settings.token_lifetime
        if asked < timedelta(seconds=1):
            raise InvalidMessage(f"a token cannot live {asked.total_seconds():.0f} s: ask for a second at least")
        return min(asked, self.settings.longest_token)

    async def _signed(self, audience: Sequence[str], attested: Attested, lifetime: timedelta, caller: Caller) -> TokenReply:
        key_id, signer = self._current()
        # Whole seconds is what tokens know; cut off, so that none lives longer than it says in the ledger.
        now = self._ground.clock.now().replace(microsecond=0)
        token_id = secrets.token_hex(16)
        signing_input = build_signing_input(
            algorithm=jws_algorithm(signer.public_key),
            key_id=key_id,
            spiffe_id=attested.spiffe_id,
            audience=audience,
            issued=now,
            expires=now + lifetime,
            token_id=token_id,
            issuer=self.settings.issuer,
        )
        if isinstance(signer, KeySigner):
            signature = signer.sign(signing_input)  # microseconds
        else:
            signature = await asyncio.to_thread(signer.sign, signing_input)
        evidence: dict[str, Evidence] = {
            **attested.evidence,
            "holder": attested.holder,
            "node": attested.node,
            "key": key_id,
            "audience": tuple(audience),
            "tokenId": token_id,
            "notAfter": (now + lifetime).isoformat(),
        }
        # Before it is given away: a token that nobody knows of must not exist.
        await self._audit(EventKind.TOKEN_ISSUED, str(attested.spiffe_id), "issued", f"node {caller.node}", evidence)
        return TokenReply(token=assemble(signing_input, signature), expires=now + lifetime)

    def _current(self) -> tuple[str, Signer]:
        row = slots.active(self._authorities.rows, Kind.JWT)
        if row is None:
            raise NoIssuer("there is no key that signs tokens")
        if self._signer is None or self._signer[0] != row.id:
            signer = self._authorities.signer(row.id)
            if signer is None:
                raise NoIssuer(f"the key {row.id}, which signs tokens, is not here: restore it, or start the control plane again")
            self._signer = (row.id, signer)
        return self._signer

    # --- the keys

    async def _due(self) -> Due | None:
        now = self._ground.clock.now()
        waiting = any(row.kind is Kind.JWT and row.slot is Slot.PREPARED for row in self._authorities.rows)
        confirmed = waiting and await self._confirmed(now)
        return next_jwt_step(self._authorities.rows, confirmed=confirmed, settings=self.settings, now=now)

    async def _confirmed(self, now: datetime) -> bool:
        living = await asyncio.to_thread(read_living_nodes, self._ground.state, now)
        banned = self._citadel.issuer.refusals.banned
        silent = Report(sequence=0, node_time=now)  # connected, and has not said anything yet
        agents = self._citadel.roster.agents.items()
        facts = Facts(
            reports={node: agent.report or silent for node, agent in agents if not banned(node)},
            expected={node: end for node, end in living.items() if not banned(node)},
        )
        return next(unconfirmed_agents(self._since, facts), None) is None

    async def _do(self, due: Due) -> None:
        now, rows = self._ground.clock.now(), self._authorities.rows
        match due.step:
            case JwtStep.BEGIN:
                made = await asyncio.to_thread(self._make, now)
                await self._change((replace(made, slot=Slot.ACTIVE, activated=now),), "citadel")
            case JwtStep.PREPARE:
                await self._change((await asyncio.to_thread(self._make, now),), "citadel")
            case JwtStep.ACTIVATE:
                await self._change(jwt_slots.activated(rows, due.rows[0], settings=self.settings, now=now), "citadel")
            case JwtStep.RETIRE:
                await self._change(tuple(replace(row, slot=Slot.RETIRED) for row in due.rows), "citadel")
                for row in due.rows:
                    await asyncio.to_thread(self._authorities.destroy, row)

    def _make(self, now: datetime) -> AuthorityRow:
        """A new key, prepared; until its row is written a crash leaves no more than a key nobody knows."""
        identifier = f"jwt-{secrets.token_hex(8)}"
        signer = self._ground.keys.create(identifier, KeyAlgorithm.ECDSA_P256)
        algorithm = jws_algorithm(signer.public_key)
        jwk = {**encode_public_key(signer.public_key), "use": "jwt-svid", "kid": identifier, "alg": algorithm}
        public = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
        return AuthorityRow(id=identifier, kind=Kind.JWT, slot=Slot.PREPARED, public=public, created=now)

    async def _change(self, changed: Sequence[AuthorityRow], by: str) -> None:
        before = self._authorities.rows
        after = slots.merged(before, changed)
        trust = await self._ground.publication.publish(lambda trust: _with_keys(trust, after), write_authorities(changed))
        self._authorities.take(changed)
        self._since = trust.sequence
        for row in changed:
            _log.info("key of tokens", id=row.id, slot=row.slot.value)
            await self._audit(_KINDS[row.slot], row.id, "done", by, {"kind": row.kind.value})

    def _told(self, trust: Trust) -> Trust:
        return _with_keys(trust, self._authorities.rows)

    async def _audit(self, kind: EventKind, subject: str, outcome: str, by: str, evidence: Mapping[str, Evidence]) -> None:
        event = Event(time=self._ground.clock.now(), kind=kind, subject=subject, outcome=outcome, by=by, evidence=evidence)
        await self._ground.audit(event)


def _read_in_time(settings: JwtSettings, federation: FederationSettings) -> JwtSettings:
    """`settings`, by which no key signs before those who are asked to fetch our bundle now and then have had their chances to."""
    if not federation.listen:
        return settings
    return replace(settings, publish_ahead=max(settings.publish_ahead, READS * federation.refresh))


def _with_keys(trust: Trust, rows: Sequence[AuthorityRow]) -> Trust:
    return replace(trust, jwt_keys=tuple(JwtKey(key_id=row.id, jwk=row.public) for row in jwt_slots.published(rows)))


def _check_audience(audience: Sequence[str]) -> None:
    if not audience or not all(audience):
        raise InvalidMessage("a token is for somebody: name its audience")
    if len(audience) > MOST_AUDIENCES or max(map(len, audience)) > LONGEST_AUDIENCE:
        raise InvalidMessage(f"a token has at most {MOST_AUDIENCES} audiences of {LONGEST_AUDIENCE} characters each")
