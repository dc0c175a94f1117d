"""Keys and certificates for programs themselves: made when one is first asked for, renewed as long as somebody listens.

Other keys than the sidecars': a program that is asked for its key can give away its own only. In memory alone; a fetch that ends is
followed by others soon, so what was issued is remembered, and used again while the first half of its life is not over.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NoReturn, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from hauberk.agent.citadel_client import CitadelUnreachable, NotIssued
from hauberk.agent.rotation import Identity, Rotation, spread
from hauberk.agent.trust_report import Held
from hauberk.agent.workload_caller import Claim
from hauberk.identity.rotation import Phase
from hauberk.identity.svid import X509Svid
from hauberk.identity.trust import Trust
from hauberk.identity.wire import Holder, IssueReply, Subject, TokenReply
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger
from hauberk.kit.watched import Watched

_MOST_IDLE: Final = 1024  # identities that nobody listens to and are remembered
_PATIENCE: Final = 10.0  # seconds for a first answer of the authority
_log = logger("workload-api")


class Authority(Protocol):
    """Who issues: the agent's client of citadel. Each raises NotIssued."""

    async def issue(self, subject: Subject, csr_der: bytes, lifetime: timedelta | None = None) -> IssueReply:
        """A certificate for the key of the request."""

    async def issue_token(self, subject: Subject, audience: tuple[str, ...], lifetime: timedelta | None = None) -> TokenReply:
        """A token for `audience`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """A certificate and its key (PKCS#8 in DER, unencrypted, and in no repr)."""

    svid: X509Svid
    authority_id: str
    key: bytes = field(repr=False)

    @property
    def chain(self) -> bytes:
        """The certificate and those between it and the root, one after the other in DER."""
        return b"".join(each.public_bytes(Encoding.DER) for each in self.svid.chain)


class KeptIdentity:
    """One claim's identity, for all who listen to it. `outcome` is what is held, or why there is nothing that could be."""

    def __init__(self, claim: Claim, authority: Authority, trust: Watched[Trust], clock: Clock) -> None:
        self.claim = claim
        self.outcome: Watched[HeldKey | NotIssued] = Watched()
        self.users = 0
        self.is_forgotten = False
        # For each stream the Trust that was in what it was last told; None: nothing was told yet.
        self.told: dict[object, Trust | None] = {}
        self._authority = authority
        self._trust = trust
        self._clock = clock
        name = f"program as {claim.namespace}/{claim.service_account}"
        account = (claim.namespace, claim.service_account)
        self.rotation = Rotation(name, issue=self._issue, publish=self._take, account=account, clock=clock, on_phase=self._on_phase)

    @property
    def held(self) -> HeldKey | None:
        """What is held and valid now."""
        value = self.outcome.value
        if isinstance(value, HeldKey) and value.svid.not_before <= self._clock.now() < value.svid.not_after:
            return value
        return None

    @property
    def is_outdated(self) -> bool:
        """Whether there is nothing that could be given to somebody new."""
        held, trust = self.held, self._trust.value
        return held is None or (trust is not None and (held.authority_id in trust.renew or held.svid.serial in trust.revoked.serials))

    async def obtained(self) -> HeldKey:
        """What is held, after the authority's first answer; raises NotIssued with its reason if that was a refusal."""
        if self.held is not None:
            return self.held
        try:
            async with asyncio.timeout(_PATIENCE):
                outcome = await self.outcome.first()
        except TimeoutError:
            outcome = CitadelUnreachable(self.rotation.problem or "the control plane does not answer")
        if isinstance(outcome, NotIssued):
            raise outcome
        if self.held is None:
            raise CitadelUnreachable(self.rotation.problem or "the certificate is not valid now; is a clock wrong?")
        return outcome

    def report(self) -> Held | None:
        """What the programs that listen hold, with the oldest Trust that one of them was told; None: nobody listens."""
        if not self.told:
            return None
        held, subject = self.held, self.claim.subject
        if held is None:
            return Held(holder=Holder(subject=subject, problem=self.rotation.problem), trust=None)
        told = [trust for trust in self.told.values() if trust is not None]
        oldest = min(told, key=lambda trust: trust.sequence) if len(told) == len(self.told) else None
        holder = Holder(
            subject=subject,
            serial=held.svid.serial,
            authority_id=held.authority_id,
            not_after=held.svid.not_after,
            problem=self.rotation.problem,
            spiffe_id=str(held.svid.spiffe_id),
        )
        return Held(holder=holder, trust=oldest)

    async def run(self) -> NoReturn:
        """Obtains and renews until cancelled."""
        leave = self._trust.subscribe(self._heed)
        try:
            if self._trust.value is not None:
                self._heed(self._trust.value)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.rotation.watch(), name="workload-identity:watch")
                await self.rotation.run()
        finally:
            leave()

    async def _issue(self, csr_der: bytes) -> IssueReply:
        try:
            return await self._authority.issue(self.claim.subject, csr_der)
        except NotIssued as exc:
            # What is still valid is used to its last minute, and nobody is told.
            if self.held is None:
                self.outcome.set(exc)
            raise

    def _take(self, identity: Identity) -> None:
        key = load_pem_private_key(identity.key_pem, None)
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.outcome.set(HeldKey(svid=identity.svid, authority_id=identity.authority_id, key=der))

    def _on_phase(self, phase: Phase) -> None:
        if phase is Phase.ENDED:
            self.outcome.set(CitadelUnreachable(self.rotation.problem))

    def _heed(self, trust: Trust) -> None:
        self.rotation.heed(trust.renew, spread(trust, 1))
        if (held := self.held) is not None and held.svid.serial in trust.revoked.serials:
            self.rotation.replace()


class Identities:
    """All of them. `trust` is what the machine believes; `changed` is called when what `holders` says may be another."""

    def __init__(
        self, authority: Authority, trust: Watched[Trust], *, clock: Clock | None = None, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.changed = changed
        self._authority = authority
        self._trust = trust
        self._clock = clock or SystemClock()
        self._kept: OrderedDict[Claim, KeptIdentity] = OrderedDict()
        self._tasks: dict[Claim, asyncio.Task[NoReturn]] = {}

    @asynccontextmanager
    async def subscribed(self, claim: Claim) -> AsyncIterator[KeptIdentity]:
        """The identity of `claim` is kept fresh meanwhile; it is the same for all who have the same claim."""
        kept = self._kept.get(claim)
        if kept is None or (not kept.users and kept.is_outdated):
            kept = self._kept[claim] = KeptIdentity(claim, self._authority, self._trust, self._clock)
        self._kept.move_to_end(claim)
        kept.users += 1
        if (running := self._tasks.get(claim)) is None or running.done():  # an error of the program may have ended it
            task = asyncio.create_task(kept.run(), name=f"workload-identity:{claim.namespace}/{claim.service_account}")
            task.add_done_callback(_log_error)
            self._tasks[claim] = task
        try:
            yield kept
        finally:
            kept.users -= 1
            if not kept.users:
                self._rest(claim, kept)

    def holders(self) -> Iterator[Held]:
        """What the programs of this machine hold, as citadel is told."""
        return (report for kept in self._kept.values() if (report := kept.report()) is not None)

    def clock_was_set(self) -> None:
        """Ages are looked at again."""
        for kept in self._kept.values():
            kept.rotation.wake()

    def authority_is_back(self) -> None:
        """What could not be had is asked for again soon, and not all at once."""
        failing = [kept for kept in self._kept.values() if kept.users and kept.rotation.failing]
        for kept in failing:
            kept.rotation.hasten(spread(self._trust.value, len(failing)))

    def forget(self, belongs: Callable[[Claim], bool]) -> None:
        """These are gone, keys and all: at once, or when the last stream has noticed that it has ended."""
        for claim, kept in [(claim, kept) for claim, kept in self._kept.items() if belongs(claim)]:
            kept.is_forgotten = True
            if not kept.users:
                del self._kept[claim]

    async def close(self) -> None:
        """Nothing is renewed or remembered any more."""
        tasks = tuple(self._tasks.values())
        self._tasks.clear()
        self._kept.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rest(self, claim: Claim, kept: KeptIdentity) -> None:
        self.changed()
        if (task := self._tasks.pop(claim, None)) is not None:
            task.cancel()
        if kept.held is None or kept.is_forgotten:
            self._kept.pop(claim, None)  # a refusal is not remembered: the next who asks has it asked for again
        idle = [each for each, other in self._kept.items() if not other.users]
        for each in idle[: max(0, len(idle) - _MOST_IDLE)]:
            del self._kept[each]


def _log_error(task: asyncio.Task[NoReturn]) -> None:
    if not task.cancelled():
        _log.error("an identity is not kept until somebody asks for it again", task=task.get_name(), exc_info=task.exception())
