"""Leaves signed by the thousand: the first of an identity is built, the next ones are cast in its mould."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel.attestation import Attested
from hauberk.citadel.authorities import Issuing
from hauberk.citadel.key_signer import KeySigner
from hauberk.identity.leaf_mould import LeafMould, NoMould
from hauberk.identity.template import PublicKey, build_leaf, leaf_validity

# Identities at a time; a kilobyte each.
_MOST: Final = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signed leaf and its life."""

    der: bytes
    not_before: datetime
    not_after: datetime


class Caster:
    """Makes leaves; what it remembers only saves time."""

    def __init__(self) -> None:
        self._moulds: dict[tuple[object, ...], LeafMould] = {}

    async def leaf(
        self, issuing: Issuing, attested: Attested, public_key: PublicKey, *, serial: int, now: datetime, lifetime: timedelta
    ) -> Leaf:
        """The leaf of `attested` for `public_key`, signed; raises InvalidTemplate."""
        kind = (issuing.id, attested.spiffe_id, attested.dns_names, public_key.key_size)
        mould = self._moulds.get(kind)
        if mould is None or not isinstance(public_key, EllipticCurvePublicKey):
            return await self._built(issuing, attested, public_key, serial=serial, now=now, lifetime=lifetime)
        begin, end = leaf_validity(issuing.certificate, now, lifetime)
        try:
            tbs = mould.cast(serial, begin, end, public_key)
        except NoMould:
            return await self._built(issuing, attested, public_key, serial=serial, now=now, lifetime=lifetime)
        return Leaf(mould.seal(tbs, await _signed(issuing, lambda: issuing.signer.sign(tbs))), begin, end)

    async def _built(
        self, issuing: Issuing, attested: Attested, public_key: PublicKey, *, serial: int, now: datetime, lifetime: timedelta
    ) -> Leaf:
        template = build_leaf(
            spiffe_id=attested.spiffe_id,
            public_key=public_key,
            issuer=issuing.certificate,
            serial=serial,
            now=now,
            lifetime=lifetime,
            dns_names=attested.dns_names,
        )
        leaf = await _signed(issuing, lambda: issuing.signer.sign_certificate(template))
        self._remember((issuing.id, attested.spiffe_id, attested.dns_names, public_key.key_size), leaf)
        return Leaf(leaf.public_bytes(Encoding.DER), leaf.not_valid_before_utc, leaf.not_valid_after_utc)

    def _remember(self, kind: tuple[object, ...], leaf: x509.Certificate) -> None:
        try:
            mould = LeafMould.of(leaf)
        except NoMould:
            return
        if len(self._moulds) >= _MOST:
            self._moulds.clear()
        self._moulds[kind] = mould


async def _signed(issuing: Issuing, sign: Callable[[], T]) -> T:
    """A key in memory takes microseconds, one in a token milliseconds, in which others are served."""
    return sign() if isinstance(issuing.signer, KeySigner) else await asyncio.to_thread(sign)
