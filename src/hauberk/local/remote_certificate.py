"""Key and certificate of one of the mesh's own processes (an agent of another machine, the control plane's door), kept fresh."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.identity.csr import build_csr_der
from hauberk.identity.rotation import next_rotation, time_left
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.svid import InvalidSvid, X509Svid
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock
from hauberk.kit.log import logger
from hauberk.kit.tls import Credentials
from hauberk.kit.watched import Watched

RETRY: Final = Backoff(first=0.2, limit=30.0)
LONGEST_SLEEP: Final = 60.0  # a clock that was set is noticed after so many seconds
LEAST_SLEEP: Final = 0.2

_log = logger("remote")


class NotObtained(Exception):
    """There is no new certificate; the message says why. It is asked for again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A key with its certificate, signed by `authority_id` ("" if that was not told). The key is in no repr."""

    svid: X509Svid
    key_pem: bytes = field(repr=False)
    authority_id: str = ""

    @property
    def credentials(self) -> Credentials:
        """What it is proven with."""
        return Credentials(chain_pem="".join(to_pem(each) for each in self.svid.chain), key_pem=self.key_pem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What an authority answers: the chain (DER, leaf first), and which of its authorities signed."""

    chain_der: tuple[bytes, ...]
    authority_id: str


# A certificate for a CSR (DER); raises NotObtained.
Obtain = Callable[[bytes], Awaitable[Signed]]


async def obtain_own(ask: Obtain, spiffe_id: SpiffeId, now: Callable[[], datetime]) -> Own:
    """A new key with a certificate that names `spiffe_id`; raises NotObtained."""
    key = ec.generate_private_key(ec.SECP256R1())
    signed = await ask(build_csr_der(key))
    try:
        svid = X509Svid.from_der(signed.chain_der)
    except InvalidSvid as exc:
        raise NotObtained(f"the control plane's answer is not usable: {exc}") from exc
    if svid.spiffe_id != spiffe_id or svid.leaf.public_key() != key.public_key():
        raise NotObtained(f"the control plane certified {svid.spiffe_id}, or another key than ours, not {spiffe_id}")
    if svid.not_after <= now():
        raise NotObtained("the control plane's certificate has expired already: do the clocks agree?")
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Own(svid=svid, key_pem=key_pem, authority_id=signed.authority_id)


class OwnCertificate:
    """`current` is renewed at half its life, and at once when `renew` is called; `keep` is called before a new one is used.

    `spiffe_id` is asked for each time: a mesh can be renamed.
    """

    def __init__(
        self,
        spiffe_id: Callable[[], SpiffeId],
        ask: Obtain,
        clock: Clock,
        *,
        held: Own | None = None,
        keep: Callable[[Own], None] = lambda _: None,
        jitter: Callable[[], float] = lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, protects nothing
    ) -> None:
        self._spiffe_id = spiffe_id
        self._ask = ask
        self._clock = clock
        self._keep = keep
        self._jitter = jitter
        self._told = asyncio.Event()
        self._failures = 0
        self.current: Watched[Own] = Watched(held)
        self.problem = ""

    def renew(self) -> None:
        """The certificate is exchanged now, however long it would live."""
        self._told.set()

    def replace(self, held: Own) -> None:
        """From now on it is this one, which somebody else obtained."""
        self.current.set(held)
        self._failures, self.problem = 0, ""

    async def run(self) -> NoReturn:
        """Renews until cancelled; what fails is tried again."""
        while True:
            await self._rest()
            self._told.clear()
            try:
                own = await obtain_own(self._ask, self._spiffe_id(), self._clock.now)
                self._keep(own)
            except (NotObtained, OSError) as exc:
                self._fail(str(exc))
                continue
            self._failures, self.problem = 0, ""
            self.current.set(own)
            _log.info(
                "own certificate", spiffe_id=str(own.svid.spiffe_id), serial=own.svid.serial, not_after=own.svid.not_after.isoformat()
            )

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if reason != self.problem:
            _log.warning("no new certificate for ourselves", reason=reason)
        self.problem = reason

    async def _rest(self) -> None:
        """Until it is time to ask again."""
        if self._failures:
            await asyncio.sleep(RETRY.delay(self._failures, self._jitter()))
            return
        if self.current.value is not None:
            await asyncio.sleep(LEAST_SLEEP)  # also when it is due already: a clock that is wrong must not make this loop spin
        held, due = None, self._clock.now()
        while not self._told.is_set() and (current := self.current.value) is not None:
            if current is not held:
                held, due = current, next_rotation(current.svid, current.svid.not_before, self._jitter())
            left = time_left(held.svid, due, self._clock.now()).total_seconds()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LONGEST_SLEEP)):
                    await self._told.wait()
