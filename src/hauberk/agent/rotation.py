"""Keys and certificates of the pods of this machine: made here, kept in memory, renewed while traffic flows."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.csr import build_csr
from hauberk.identity.rotation import is_sooner, next_rotation, time_left
from hauberk.identity.spiffe_id import service_account_of
from hauberk.identity.svid import InvalidSvid, X509Svid
from hauberk.identity.trust_bundle import InvalidTrustBundle, TrustBundle
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable

# A control plane that restarts is back within a second or two; one that is broken must not be hammered by every pod.
RETRY = Backoff(first=0.1, limit=30.0)
# Whatever woke nobody, such as a clock that was set little by little, is noticed after so many seconds.
LONGEST_SLEEP = 60.0
_LEAST_SLEEP = 0.05  # seconds; so that a certificate that is always due cannot make this loop spin

_log = logger("rotation")


class CertificateRefused(Exception):
    """The control plane answered and gave no usable certificate; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a proxy proves who it is with, and whom it believes. The key is in no repr and in no file."""

    svid: X509Svid
    bundle: TrustBundle
    key_pem: bytes = field(repr=False)


# Chain and trust bundle, each as PEM texts, for a certificate request.
Issue = Callable[[PodRef, str], Awaitable[tuple[list[str], list[str]]]]


@dataclass(frozen=True, slots=True)
class CertificateClient:
    """Asks the control plane for certificates."""

    api: AsyncUnixHttp

    async def __call__(self, pod: PodRef, csr: str) -> tuple[list[str], list[str]]:
        """The chain and the trust bundle; CertificateRefused, or NotReachable while the control plane is down."""
        claim = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
        status, answer = await self.api.request("POST", "/v1/certificates", {"csr": csr, "pod": claim, "node": pod.node}, timeout=10.0)
        match answer:
            case {"certificateChain": [*chain], "trustBundle": [*bundle]} if status == 200:
                return [str(pem) for pem in chain], [str(pem) for pem in bundle]
            case _:
                raise CertificateRefused(_reason(status, answer))


class Rotation:
    """One pod's identity, kept fresh: each new one is given to `publish`, and is `identity` from then on."""

    def __init__(
        self,
        pod: PodRef,
        *,
        issue: Issue,
        publish: Callable[[Identity], None],
        clock: Clock | None = None,
        jitter: Callable[[], float] = lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, protects nothing
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pod = pod
        self._issue = issue
        self._publish = publish
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._sleep = sleep
        self._failures = 0
        self._due = datetime.min.replace(tzinfo=UTC)
        self.identity: Identity | None = None
        self.problem = ""  # why there is no newer one; empty when all is well

    async def run(self) -> NoReturn:
        """Obtains, publishes and renews until cancelled; whatever fails is tried again."""
        while True:
            await self._attempt()
            # Even if the time has come already, other pods get their turn.
            await self._sleep(_LEAST_SLEEP if self._failures == 0 else self._retry_delay())
            await self._hold()

    async def _hold(self) -> None:
        """The identity is to be renewed, or there is none; clocks that were set meanwhile have been heeded."""
        while (left := self._left()) > 0:
            # Well again, also where that came by waiting: a certificate that was not valid yet has become so.
            self._failures, self.problem = 0, ""
            # Either `sleep` ends when the wall clock is set, or this is how long nobody looks at it.
            await self._sleep(min(left, LONGEST_SLEEP))

    def _left(self) -> float:
        return time_left(self.identity.svid, self._due, self._clock.now()).total_seconds() if self.identity is not None else 0.0

    async def _attempt(self) -> None:
        """There is a new identity, or one failure more and the reason for it."""
        try:
            identity = await obtain(self._pod, self._issue, self._clock.now)
        except (CertificateRefused, NotReachable) as exc:
            self._fail(str(exc))
            return
        now = self._clock.now()
        if self.identity is None or is_sooner(identity.svid, self.identity.svid, now):
            self._take(identity, now)
        if identity.svid.not_before > now:
            # Asking again at once would bring another such; with growing pauses it does no harm.
            self._fail(
                f"the control plane's certificate is not valid before {identity.svid.not_before:%Y-%m-%d %H:%M:%S} UTC: is a clock wrong?"
            )
        else:
            self._failures, self.problem = 0, ""

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if reason != self.problem:
            _log.warning("no certificate", pod=self._pod.full_name, reason=reason)
        self.problem = reason

    def _take(self, identity: Identity, now: datetime) -> None:
        self.identity = identity
        self._due = next_rotation(identity.svid, now, self._jitter())
        self._publish(identity)
        _log.info("certificate", pod=self._pod.full_name, spiffe_id=str(identity.svid.spiffe_id), serial=identity.svid.serial)

    def _retry_delay(self) -> float:
        delay = RETRY.delay(self._failures, self._jitter())
        if self.identity is None:
            return delay
        # While an old certificate still lives, at least ten attempts fit into the rest of its life.
        left = (self.identity.svid.not_after - self._clock.now()).total_seconds()
        return min(delay, max(left / 10, _LEAST_SLEEP)) if left > 0 else delay


async def obtain(pod: PodRef, issue: Issue, now: Callable[[], datetime]) -> Identity:
    """A new key with a certificate for it that says what was asked for; the key existed nowhere before."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain, bundle = await issue(pod, build_csr(key))
    try:
        svid = X509Svid.parse(chain)
        trust = TrustBundle.parse(svid.spiffe_id.trust_domain, bundle)
    except (InvalidSvid, InvalidTrustBundle) as exc:
        raise CertificateRefused(f"the control plane's answer is not usable: {exc}") from exc
    _check(svid, key, pod, now())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(svid=svid, bundle=trust, key_pem=key_pem)


def _check(svid: X509Svid, key: ec.EllipticCurvePrivateKey, pod: PodRef, now: datetime) -> None:
    if svid.leaf.public_key() != key.public_key():
        raise CertificateRefused("the control plane certified another key than the one it was sent")
    if service_account_of(svid.spiffe_id) != (pod.namespace, pod.service_account):
        raise CertificateRefused(f"the control plane certified {svid.spiffe_id}, not {pod.namespace}/{pod.service_account}")
    if svid.not_after <= now:
        raise CertificateRefused("the control plane's certificate has expired already; do the clocks agree?")


def _reason(status: int, answer: Any) -> str:
    match answer:
        case {"problems": [{"message": str(message)}, *_]}:
            return message
        case _:
            return f"the control plane answered with status {status}"
