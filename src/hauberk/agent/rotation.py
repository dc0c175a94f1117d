"""A key and its certificate: made here, kept in memory, renewed while they are in use, and given up only when they have ended."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.agent.citadel_client import CertificateRefused, CitadelBusy, NotIssued
from hauberk.identity.csr import build_csr_der
from hauberk.identity.rotation import (
    Phase,
    clock_difference,
    explain,
    is_sooner,
    next_phase,
    next_rotation,
    phase_of,
    renewal_window,
    time_left,
    tolerance,
)
from hauberk.identity.spiffe_id import service_account_of
from hauberk.identity.svid import InvalidSvid, X509Svid
from hauberk.identity.trust import Trust
from hauberk.identity.wire import IssueReply
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger

# A control plane that restarts is back within a second or two; one that is broken must not be hammered by every pod.
RETRY = Backoff(first=0.1, limit=30.0)
# Whatever woke nobody, such as a clock that was set little by little, is noticed after so many seconds.
LONGEST_SLEEP = 60.0
_PATIENCE = 1.0  # seconds; an authority that works answers in milliseconds
_LEAST_SLEEP = 0.05  # seconds; so that a certificate that is always due cannot make this loop spin
_SKEW_NOISE = timedelta(seconds=5)  # certificates know whole seconds, and an answer takes its time

_log = logger("rotation")

# The authority's answer to a request (DER) for one subject; raises NotIssued.
Issue = Callable[[bytes], Awaitable[IssueReply]]
# Returns when the event is set or so many seconds have passed.
Wait = Callable[[asyncio.Event, float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a workload proves who it is with. The key is in no repr and in no file."""

    svid: X509Svid
    authority_id: str  # of the authority that signed it
    key_pem: bytes = field(repr=False)
    asked: float = field(default=0.0, compare=False)  # when its making began, by the clock that nobody sets


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """The event is set, or so many seconds have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Rotation:
    """One identity, kept fresh: each new one is given to `publish`, and is `identity` from then on.

    `on_phase` is called when a certificate becomes alarmingly old, ends, or is followed by another after that.
    """

    def __init__(
        self,
        name: str,
        *,
        issue: Issue,
        publish: Callable[[Identity], None],
        account: tuple[str, str] | None = None,
        node: str = "this machine",
        clock: Clock | None = None,
        jitter: Callable[[], float] = lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, protects nothing
        wait: Wait = wait_for,
        on_phase: Callable[[Phase], None] = lambda _phase: None,
    ) -> None:
        self._name = name
        self._issue = issue
        self._publish = publish
        self._account = account
        self._node = node
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._wait = wait
        self._on_phase = on_phase
        self._woken = asyncio.Event()
        self._renewed = asyncio.Event()
        self._failures = 0
        self._reason = ""  # why there is no newer certificate
        self._asked: float | None = None  # since when an answer is waited for, by the clock that nobody sets
        self._skew = ""
        self._orders: frozenset[str] = frozenset()
        self._stale = 0  # certificates in a row that were to be renewed when they came
        self._due = datetime.min.replace(tzinfo=UTC)
        self._not_before = -inf  # by the clock that nobody sets: no attempt before
        self._phase = Phase.GOOD
        self._inherited: X509Svid | None = None
        self._contact: timedelta | None = None  # the authority came back, with this window, while an answer was waited for
        self.identity: Identity | None = None

    # --- what is known

    @property
    def problem(self) -> str:
        """Why there is no newer certificate and what that means now, or which clock is wrong; empty when all is well."""
        reason = self._reason
        if not reason and self._unanswered:
            reason = f"the control plane has not answered for {self._waited:.0f} s"
        return explain(self._shown, reason, self._clock.now()) or self._skew

    @property
    def phase(self) -> Phase:
        """How far the certificate's life has gone; good as well while there is none."""
        return phase_of(self._shown, self._clock.now()) if self._shown is not None else Phase.GOOD

    @property
    def _shown(self) -> X509Svid | None:
        return self.identity.svid if self.identity is not None else self._inherited

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed, or is not answered."""
        return self._failures > 0 or self._unanswered

    @property
    def _waited(self) -> float:
        return self._clock.monotonic() - self._asked if self._asked is not None else 0.0

    @property
    def _unanswered(self) -> bool:
        return self._waited > _PATIENCE

    # --- what others may ask

    def heed(self, orders: frozenset[str], window: timedelta) -> None:
        """Certificates that these authorities signed are to be renewed, at a time of chance within `window`."""
        self._orders = orders
        if self._stale == 0 and self.identity is not None and self.identity.authority_id in orders:
            self._stale = 1
            self._due = min(self._due, self._clock.now() + window * self._chance())
            self._woken.set()

    def replace(self) -> None:
        """The certificate is believed by nobody any more: another is asked for at once."""
        self._due = min(self._due, self._clock.now())
        self._not_before = -inf
        self._woken.set()

    def hasten(self, window: timedelta) -> None:
        """The authority is back: an attempt that has failed is made again at a time of chance within `window`."""
        if self._asked is not None:
            self._contact = window  # this attempt may have begun before, and fail still
        if self._failures:
            left = self.identity.svid.not_after - self._clock.now() if self.identity is not None else timedelta()
            # Who is about to lose his certificate does not wait for a place in a long queue.
            window = min(window, left / 4) if left > timedelta() else window
            self._not_before = min(self._not_before, self._clock.monotonic() + window.total_seconds() * self._chance())
            self._woken.set()

    def inherit(self, svid: X509Svid) -> None:
        """Until there is an identity, the age of this certificate counts: whoever an earlier agent gave it to shows it still."""
        self._inherited = svid
        self._renewed.set()

    def wake(self) -> None:
        """The wall clock was set: what follows from it is looked at again."""
        self._woken.set()
        self._renewed.set()

    # --- its work

    async def run(self) -> NoReturn:
        """Obtains, publishes and renews until cancelled; whatever fails is tried again."""
        while True:
            while (left := self._left()) > 0:
                await self._wait(self._woken, min(left, LONGEST_SLEEP))
                self._woken.clear()
            await self._attempt()

    async def watch(self) -> NoReturn:
        """Tells `on_phase` until cancelled. Beside `run`, because an attempt may take long while a certificate ends."""
        while True:
            self._look()
            until = next_phase(self._shown, self._clock.now()) if self._shown is not None else None
            seconds = LONGEST_SLEEP if until is None else min(until.total_seconds(), LONGEST_SLEEP)
            await self._wait(self._renewed, max(seconds, 0.001))
            self._renewed.clear()

    def _look(self) -> None:
        phase = self.phase
        if phase is self._phase:
            return
        before, self._phase = self._phase, phase
        if phase in (Phase.ALARMING, Phase.ENDED):
            log = _log.error if phase is Phase.ENDED else _log.warning
            log("certificate not renewed", holder=self._name, phase=phase.value, reason=self.problem)
        elif before is Phase.ENDED:
            _log.info("certificate renewed after it had ended", holder=self._name)
        self._on_phase(phase)

    def _left(self) -> float:
        """Seconds until the next attempt."""
        use = time_left(self.identity.svid, self._due, self._clock.now()).total_seconds() if self.identity is not None else 0.0
        if use > 0 and self._failures:
            # Well again, also where that came by waiting: a certificate that was not valid yet has become so.
            self._failures, self._reason = 0, ""
        return max(use, self._not_before - self._clock.monotonic())

    async def _attempt(self) -> None:
        """There is a new identity, or one failure more and the reason for it; and when the next attempt may be made."""
        self._asked, self._contact = self._clock.monotonic(), None
        try:
            identity = replace(await obtain(self._issue, self._account, self._clock.now), asked=self._asked)
        except CitadelBusy as exc:
            self._fail(str(exc))
            self._pause(exc.retry_after * (1 + self._chance() / 2))
            return
        except NotIssued as exc:
            self._fail(str(exc))
            self._pause(self._retry_delay())
            if self._contact is not None:
                self.hasten(self._contact)
            return
        finally:
            self._asked = None
        now = self._clock.now()
        self._skew = describe_skew(identity.svid, now, self._node)
        if self.identity is None or is_sooner(identity.svid, self.identity.svid, now):
            self._take(identity, now)
        if identity.svid.not_before > now:
            # Asking again at once would bring another such; with growing pauses it does no harm.
            self._fail(f"the control plane's certificate is not valid yet: {self._skew or 'is a clock wrong?'}")
            self._pause(self._retry_delay())
        else:
            self._failures, self._reason = 0, ""
            # Even if the time has come already, other pods get their turn.
            self._pause(_LEAST_SLEEP)

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if reason != self._reason:
            _log.warning("no certificate", holder=self._name, reason=reason)
        self._reason = reason

    def _take(self, identity: Identity, now: datetime) -> None:
        self.identity = identity
        self._due = next_rotation(identity.svid, now, self._jitter())
        if identity.authority_id in self._orders:
            # The order came while it was made, or is a mistake that must not become a loop: again, with growing pauses.
            self._due = min(self._due, now + timedelta(seconds=RETRY.delay(self._stale + 1, self._jitter())))
            self._stale += 1
        else:
            self._stale = 0
        self._publish(identity)
        self._renewed.set()
        _log.info("certificate", holder=self._name, spiffe_id=str(identity.svid.spiffe_id), serial=identity.svid.serial)

    def _pause(self, seconds: float) -> None:
        self._not_before = self._clock.monotonic() + seconds

    def _retry_delay(self) -> float:
        delay = RETRY.delay(self._failures, self._jitter())
        if self.identity is None:
            return delay
        svid = self.identity.svid
        # While an old certificate still lives, at least ten attempts fit into the rest of its life; afterwards twenty into one life.
        left = (svid.not_after - self._clock.now()).total_seconds()
        life = (svid.not_after - svid.not_before).total_seconds()
        return min(delay, max(left / 10, _LEAST_SLEEP) if left > 0 else max(life / 20, _PATIENCE))

    def _chance(self) -> float:
        return (self._jitter() + 1) / 2


def spread(trust: Trust | None, holders: int) -> timedelta:
    """Over how long `holders` of this machine ask at random times, since those of all others may ask as well."""
    return max(renewal_window(holders), trust.renewal_window if trust is not None else timedelta())


async def obtain(issue: Issue, account: tuple[str, str] | None, now: Callable[[], datetime]) -> Identity:
    """A new key with a certificate for it that says what was asked for; the key existed nowhere before.

    `account` is (namespace, service account) if it is known beforehand whom the certificate must name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    reply = await issue(build_csr_der(key))
    try:
        svid = X509Svid.from_der(reply.chain_der)
    except InvalidSvid as exc:
        raise CertificateRefused(f"the control plane's answer is not usable: {exc}") from exc
    _check(svid, key, account, now())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(svid=svid, authority_id=reply.authority_id, key_pem=key_pem)


def describe_skew(svid: X509Svid, now: datetime, node: str) -> str:
    """Which machine's clock differs from that of who has just signed `svid`, and by how much; empty if that is tolerable."""
    ahead = clock_difference(svid, now)
    if abs(ahead) <= max(tolerance(svid), _SKEW_NOISE):
        return ""
    seconds, side = abs(round(ahead.total_seconds())), "behind" if ahead > timedelta() else "ahead of"
    return (
        f"the clock of {node} is {timedelta(seconds=seconds)} {side} the control plane's: set it by NTP, and look whether the others agree"
    )


def _check(svid: X509Svid, key: ec.EllipticCurvePrivateKey, account: tuple[str, str] | None, now: datetime) -> None:
    if svid.leaf.public_key() != key.public_key():
        raise CertificateRefused("the control plane certified another key than the one it was sent")
    if account is not None and service_account_of(svid.spiffe_id) != account:
        raise CertificateRefused(f"the control plane certified {svid.spiffe_id}, not {'/'.join(account)}")
    if svid.not_after <= now:
        raise CertificateRefused("the control plane's certificate has expired already; do the clocks agree?")
