"""An authority in a directory, with a clock that a test sets, an attestor that believes what the test says, and agents it plays."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.citadel.attestation import AttestationRefused, Attested, Caller
from hauberk.citadel.authority import Citadel
from hauberk.citadel.ground import Ground
from hauberk.citadel.rotation import holder_name
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state_issued import IssuedRow, read_issued
from hauberk.identity.csr import build_csr_der
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.svid import X509Svid
from hauberk.identity.wire import Holder, IssueReply, IssueRequest, PodSubject, Report, Subject

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TRUST_DOMAIN = "cluster.local"
POD = PodSubject(namespace="shop", name="web-1", uid="u-1")
CALLER = Caller(node="here", evidence=(("socket", "test"),))


@dataclass
class HandClock:
    """Shows what it was set to; `pass_by` moves both of its hands."""

    at: datetime = NOW
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, time: timedelta) -> None:
        self.at += time
        self.seconds += time.total_seconds()


class ShopAttestor:
    """Every pod of namespace `shop` runs as ServiceAccount `web`, on whatever node asks."""

    def attest(self, subject: Subject, caller: Caller) -> Attested:
        if not isinstance(subject, PodSubject) or subject.namespace != "shop":
            raise AttestationRefused("there is no such pod")
        return Attested(
            spiffe_id=workload_id(TRUST_DOMAIN, "shop", "web"),
            holder=holder_name(subject, caller.node),
            node=caller.node,
            evidence={"pod": f"{subject.namespace}/{subject.name}"},
        )


@contextmanager
def opened(directory: Path, clock: HandClock | None = None, settings: CitadelSettings | None = None) -> Iterator[Citadel]:
    """The authority in `directory`, closed afterwards."""
    ground = Ground.open(directory / "ca", trust_domain=TRUST_DOMAIN, clock=clock or HandClock(), audit=directory / "audit")
    try:
        yield Citadel.open(ground, settings or CitadelSettings(), attestor=ShopAttestor())
    finally:
        ground.close()


def request(subject: Subject = POD, lifetime: timedelta | None = None) -> IssueRequest:
    return IssueRequest(csr_der=build_csr_der(ec.generate_private_key(ec.SECP256R1())), subject=subject, lifetime=lifetime)


async def issue(citadel: Citadel, subject: Subject = POD, caller: Caller = CALLER, lifetime: timedelta | None = None) -> X509Svid:
    return X509Svid.from_der((await citadel.issuer.issue(request(subject, lifetime), caller)).chain_der)


def row_of(citadel: Citadel, svid: X509Svid) -> IssuedRow:
    row = read_issued(citadel.ground.state, serial=svid.serial)
    assert row is not None
    return row


@dataclass
class PlayedAgent:
    """An agent whose pods do at once what the Trust says; `deaf` ones do not hear it."""

    citadel: Citadel
    node: str = "here"
    holders: dict[str, Holder] = field(default_factory=dict)
    deaf: bool = False

    def __post_init__(self) -> None:
        self._connection = self.citadel.roster.connected(self.node, self.citadel.ground.clock.now())
        self.line = self._connection.__enter__()

    def leave(self) -> None:
        self._connection.__exit__(None, None, None)

    async def start(self, name: str) -> X509Svid:
        """A pod of that name has a certificate and has acknowledged it."""
        subject = PodSubject(namespace="shop", name=name, uid=f"uid-{name}")
        reply: IssueReply = await self.citadel.issuer.issue(request(subject), Caller(node=self.node))
        svid = X509Svid.from_der(reply.chain_der)
        self.holders[name] = Holder(
            subject=subject, sequence=reply.trust_sequence, serial=svid.serial, authority_id=reply.authority_id, not_after=svid.not_after
        )
        return svid

    async def obey(self) -> None:
        """The current Trust has been heard, followed and reported."""
        trust = self.citadel.trust
        if not self.deaf:
            for name, holder in list(self.holders.items()):
                if holder.authority_id in trust.renew:
                    await self.start(name)
            self.holders = {
                name: Holder(
                    subject=each.subject,
                    sequence=trust.sequence,
                    serial=each.serial,
                    authority_id=each.authority_id,
                    not_after=each.not_after,
                )
                for name, each in self.holders.items()
            }
            self.report(trust.sequence)

    def report(self, sequence: int, node_time: datetime | None = None) -> None:
        now = self.citadel.ground.clock.now()
        report = Report(sequence=sequence, node_time=node_time or now, holders=tuple(self.holders.values()))
        self.citadel.roster.heard(self.node, self.line, report, now)


async def until_done(citadel: Citadel, *agents: PlayedAgent, rounds: int = 10) -> None:
    """Agents obey and the authority does what is due, until the exchange of the root is over."""
    for _ in range(rounds):
        await citadel.housekeeping.tidy()
        if not citadel.exchange.going_on:
            return
        for agent in agents:
            await agent.obey()
        await asyncio.sleep(0)
    raise AssertionError(f"the exchange is not over: {citadel.exchange.progress}, {citadel.exchange.waiting}")
