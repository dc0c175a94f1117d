"""A pod's certificate and trust on their way into its Envoy: both are played here, the authority and the Envoy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.config.core.v3.base_pb2 import Node

from hauberk.agent.citadel_client import CitadelClient, CitadelUnreachable
from hauberk.agent.relay import Relay
from hauberk.agent.sds import Secrets
from hauberk.agent.sidecar_identity import SidecarIdentity
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.trust import MachineTrust
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust import Trust
from hauberk.identity.wire import IssueReply, PodSubject, Subject

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="td", public_key=KEY.public_key(), serial=1, now=START, lifetime=timedelta(days=9)).sign(
    KEY, hashes.SHA256()
)
POD = PodRef(uid="u-1", namespace="shop", name="web-1", service_account="web", network="u-1", node="here")


class FakeClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()


class FakeCitadel:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.down = False
        self.issued = 0

    async def issue(self, subject: Subject, csr_der: bytes) -> IssueReply:
        if self.down:
            raise CitadelUnreachable("nobody answers")
        assert subject == PodSubject(namespace="shop", name="web-1", uid="u-1")
        key = x509.load_der_x509_csr(csr_der).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.issued += 1
        leaf = build_leaf(
            spiffe_id=workload_id("td", "shop", "web"),
            public_key=key,
            issuer=ROOT,
            serial=self.issued,
            now=self.clock.now(),
            lifetime=timedelta(hours=1),
        ).sign(KEY, hashes.SHA256())
        return IssueReply(chain_der=(leaf.public_bytes(Encoding.DER),), trust_sequence=1, authority_id="A")


class FakeRelay(Relay):
    """Keeps what it is told; `acknowledged` is what a test says."""

    def __init__(self) -> None:
        super().__init__(Node(id="x"))
        self.told: list[Secrets] = []
        self.proven: Secrets | None = None

    def set_secrets(self, secrets: Secrets) -> None:
        self.told.append(secrets)

    @property
    def acknowledged(self) -> Secrets | None:
        return self.proven


class World:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.citadel = FakeCitadel(self.clock)
        self.trust = MachineTrust(path / "trust")
        self.relay = FakeRelay()
        self.changes = 0
        self.identity = SidecarIdentity(
            POD,
            client=cast(CitadelClient, self.citadel),
            trust=self.trust,
            relay=self.relay,
            clock=self.clock,
            on_change=self._changed,
        )
        self.trust.current.subscribe(lambda trust: self.identity.believe(trust, timedelta(seconds=1)))

    def _changed(self) -> None:
        self.changes += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.identity.run())
        try:
            async with asyncio.timeout(20):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def trust(sequence: int = 1) -> Trust:
    return Trust(sequence=sequence, trust_domain="td", x509_authorities=(ROOT,))


async def test_envoy_is_told_when_both_certificate_and_trust_are_known(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running():
        await world.identity.current.first()
        assert world.relay.told == []
        assert "whom to trust" in world.identity.problem
        await world.trust.take(trust())
        await world.identity.complete.wait()
    assert [secrets.whole for secrets in world.relay.told] == [True]
    assert (world.identity.usable, world.identity.problem) == (True, "")


async def test_an_agent_without_its_control_plane_tells_envoy_whom_to_trust(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.citadel.down = True
    await world.trust.take(trust())
    assert [secrets.whole for secrets in world.relay.told] == [False]
    assert not world.identity.usable


async def test_what_an_envoy_holds_that_has_outlived_an_agent_is_unknown_until_it_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.identity.held.unknown
    await world.trust.take(trust())
    world.relay.proven = world.relay.told[0]
    world.identity.envoy_acknowledged()
    held = world.identity.held
    assert (held.unknown, held.trust, held.holder.serial) == (False, world.trust.current.value, "")


async def test_what_an_envoy_has_acknowledged_it_holds_also_while_its_stream_is_broken_and_no_longer_than_it_lives(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.trust.take(trust())
    async with world.running():
        await world.identity.complete.wait()
    world.relay.proven = world.relay.told[-1]
    world.identity.envoy_acknowledged()
    world.relay.proven = None
    world.identity.envoy_acknowledged()
    held = world.identity.held
    assert (held.holder.serial, held.holder.authority_id, held.trust) == (f"{1:032x}", "A", world.trust.current.value)
    assert held.holder.problem == "its Envoy is not connected"
    world.identity.envoy_is_gone()
    assert (world.identity.held.holder.serial, world.identity.held.unknown) == ("", False)


async def test_the_end_of_a_certificate_that_is_not_renewed_is_told_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.trust.take(trust())
    async with world.running():
        await world.identity.complete.wait()
        world.citadel.down = True
        world.clock.time += timedelta(hours=2)
        world.identity.rotation.wake()
        await world.identity.ended()
        assert (world.identity.usable, world.identity.alarm) == (False, True)
        assert "nobody answers" in world.identity.problem
        again = asyncio.create_task(world.identity.ended())
        await asyncio.sleep(0)
        assert not again.done()
        again.cancel()
    assert world.changes > 0
