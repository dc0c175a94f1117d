"""An authority in memory for the Workload API: issues to whom it is told to, with certificates as citadel makes them."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.agent.citadel_client import NotIssued
from hauberk.agent.workload_caller import Claim
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import build_issuing, build_leaf, build_root
from hauberk.identity.trust import Trust
from hauberk.identity.wire import IssueReply, PodSubject, Subject, TokenReply
from hauberk.kit.watched import Watched

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DOMAIN = "cluster.local"
POD = PodSubject(namespace="shop", name="web-1", uid="u-1")
CLAIM = Claim(subject=POD, namespace="shop", service_account="web")
HEADER = (("workload.spiffe.io", "true"),)


@dataclass
class HandClock:
    """Shows what it was set to."""

    at: datetime = NOW
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Authority:
    """Signs whatever it is asked for, unless `refusal` is set."""

    clock: HandClock
    refusal: NotIssued | None = None
    issued: list[str] = field(default_factory=list)
    tokens: int = 0
    gives_tokens: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gives_tokens.set()
        self.root_key, self.root = _root(self.clock.at)
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = build_issuing(
            trust_domain=DOMAIN, public_key=self._key.public_key(), root=self.root, serial=2, now=self.clock.at, lifetime=timedelta(days=30)
        )
        self._issuing = made.sign(self.root_key, hashes.SHA256())

    async def issue(self, subject: Subject, csr_der: bytes, lifetime: timedelta | None = None) -> IssueReply:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        assert isinstance(subject, PodSubject)
        key: Any = x509.load_der_x509_csr(csr_der).public_key()
        serial = 1 << 127 | len(self.issued)
        template = build_leaf(
            spiffe_id=workload_id(DOMAIN, subject.namespace, "web"),
            public_key=key,
            issuer=self._issuing,
            serial=serial,
            now=self.clock.at,
            lifetime=lifetime or timedelta(hours=1),
        )
        leaf = template.sign(self._key, hashes.SHA256())
        self.issued.append(f"{serial:032x}")
        chain = tuple(each.public_bytes(Encoding.DER) for each in (leaf, self._issuing))
        return IssueReply(chain_der=chain, trust_sequence=1, authority_id="issuing-1")

    async def issue_token(self, subject: Subject, audience: tuple[str, ...], lifetime: timedelta | None = None) -> TokenReply:
        if self.refusal is not None:
            raise self.refusal
        self.tokens += 1
        token = f"token-{self.tokens}-for-{'+'.join(audience)}"
        await self.gives_tokens.wait()
        return TokenReply(token=token, expires=self.clock.at + timedelta(minutes=5))

    def trust(self, sequence: int = 1, **more: Any) -> Trust:
        return Trust(sequence=sequence, trust_domain=DOMAIN, x509_authorities=(self.root,), **more)


def _root(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    made = build_root(trust_domain=DOMAIN, public_key=key.public_key(), serial=1, now=now, lifetime=timedelta(days=60))
    return key, made.sign(key, hashes.SHA256())


def watched(trust: Trust | None) -> Watched[Trust]:
    return Watched(trust)


def other_root() -> x509.Certificate:
    """Of nobody in particular."""
    return _root(NOW)[1]
