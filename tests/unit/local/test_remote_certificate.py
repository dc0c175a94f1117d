"""The certificate of one of the mesh's own processes: only what was asked for is taken, and it is renewed in time or when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel.nodes import agent_id
from hauberk.identity.csr import read_public_key_der
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_leaf, build_root
from hauberk.kit.backoff import Backoff
from hauberk.local import remote_certificate
from hauberk.local.remote_certificate import NotObtained, Own, OwnCertificate, Signed, obtain_own

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
OURS = agent_id("cluster.local", "n2")
ROOT = build_root(trust_domain="cluster.local", public_key=KEY.public_key(), serial=7, now=NOW, lifetime=timedelta(days=1)).sign(
    KEY, hashes.SHA256()
)


class Authority:
    """Signs, as it is told to."""

    def __init__(self) -> None:
        self.now = NOW
        self.names = OURS
        self.lifetime = timedelta(hours=1)
        self.failures = 0
        self.asked = asyncio.Event()
        self.serial = 10

    def monotonic(self) -> float:
        return 0.0

    async def sign(self, csr_der: bytes) -> Signed:
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise NotObtained("away")
        self.serial += 1
        template = build_leaf(
            spiffe_id=self.names,
            public_key=read_public_key_der(csr_der),
            issuer=ROOT,
            serial=self.serial,
            now=self.now,
            lifetime=self.lifetime,
        )
        return Signed(chain_der=(template.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER),), authority_id="issuing-1")


class Times:
    """The clock of a test."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def now(self) -> datetime:
        return self._authority.now

    def monotonic(self) -> float:
        return 0.0


@asynccontextmanager
async def running(own: OwnCertificate) -> AsyncIterator[None]:
    task = asyncio.create_task(own.run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_obtained_is_a_key_of_ones_own_with_ones_own_name() -> None:
    authority = Authority()
    own = await obtain_own(authority.sign, OURS, lambda: NOW)
    assert own.svid.spiffe_id == OURS
    assert own.authority_id == "issuing-1"
    assert "PRIVATE" not in repr(own)


@pytest.mark.parametrize("names", [agent_id("cluster.local", "n3"), SpiffeId("cluster.local", "/ns/a/sa/b")])
async def test_another_name_is_not_taken(names: SpiffeId) -> None:
    authority = Authority()
    authority.names = names
    with pytest.raises(NotObtained, match="certified"):
        await obtain_own(authority.sign, OURS, lambda: NOW)


async def test_neither_another_key_nor_what_has_expired_nor_garbage_is_taken() -> None:
    authority = Authority()

    async def for_another(_: bytes) -> Signed:
        other = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(other, hashes.SHA256())
        return await authority.sign(request.public_bytes(Encoding.DER))

    async def garbage(_: bytes) -> Signed:
        return Signed(chain_der=(b"garbage",), authority_id="")

    for ask, now in ((for_another, NOW), (garbage, NOW), (authority.sign, NOW + timedelta(hours=2))):
        with pytest.raises(NotObtained):
            await obtain_own(ask, OURS, lambda at=now: at)  # type: ignore[misc]  # a default binds the loop's value


async def test_a_certificate_is_kept_before_it_is_used_and_asked_for_again_while_nobody_gives_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_certificate, "RETRY", Backoff(first=0.001, limit=0.001))
    authority, kept = Authority(), list[Own]()
    authority.failures = 2
    own = OwnCertificate(lambda: OURS, authority.sign, Times(authority), keep=kept.append)
    async with running(own):
        assert await own.current.first() is kept[0]
        assert own.problem == ""


async def test_a_certificate_is_renewed_when_told_and_when_half_its_life_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_certificate, "LEAST_SLEEP", 0.0)
    monkeypatch.setattr(remote_certificate, "LONGEST_SLEEP", 0.01)
    authority = Authority()
    own = OwnCertificate(lambda: OURS, authority.sign, Times(authority), jitter=lambda: 0.0)
    async with running(own):
        first = await own.current.first()
        own.renew()
        second = await other_than(own, first)
        authority.now = NOW + timedelta(minutes=35)
        third = await other_than(own, second)
        assert len({each.svid.serial for each in (first, second, third)}) == 3


async def other_than(own: OwnCertificate, before: Own) -> Own:
    async for found in own.current.changes():
        if found is not before:
            return found
    raise AssertionError
