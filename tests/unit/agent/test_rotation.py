"""Keys and certificates of a pod: made, checked, renewed in time, tried again; with an authority, a clock and a sleep of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hauberk.agent.rotation import CertificateClient, CertificateRefused, Identity, Rotation, obtain
from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.csr import read_public_key
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import PublicKey, build_leaf, build_root
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
POD = PodRef(uid="u-1", namespace="shop", name="web-1", service_account="web", network="u-1", node="here")


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = START
        self.slept: list[float] = []
        self.jumps: list[timedelta] = []  # the next long sleep ends at once, because the clock was set by so much

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.jumps and seconds >= 60:
            self.time += self.jumps.pop()
            seconds = 0.0
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class FakeAuthority:
    """Signs what it is asked for; `fails` is how often it is not there first."""

    def __init__(self, clock: FakeClock, lifetime: timedelta = timedelta(hours=24)) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.failures: list[Exception] = []
        self.requests: list[PublicKey] = []
        self.service_account = "web"
        self.other_key = False
        self.ahead = timedelta()  # of its clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._root = build_root(
            trust_domain="cluster.local",
            public_key=self._key.public_key(),
            serial=1,
            now=START - timedelta(days=9),
            lifetime=timedelta(days=999),
        ).sign(self._key, hashes.SHA256())

    async def __call__(self, pod: PodRef, csr: str) -> tuple[list[str], list[str]]:
        if self.failures:
            raise self.failures.pop(0)
        key: PublicKey = ec.generate_private_key(ec.SECP256R1()).public_key() if self.other_key else read_public_key(csr)
        self.requests.append(key)
        leaf = build_leaf(
            spiffe_id=workload_id("cluster.local", pod.namespace, self.service_account),
            public_key=key,
            issuer=self._root,
            serial=len(self.requests),
            now=self.clock.now() + self.ahead,
            lifetime=self.lifetime,
        ).sign(self._key, hashes.SHA256())
        return [to_pem(leaf)], [to_pem(self._root)]


async def until(clock: FakeClock, condition: Callable[[], bool], run: Callable[[], Awaitable[object]]) -> None:
    """Let `run` go on until `condition` holds."""
    task = asyncio.ensure_future(run())
    while not condition():
        assert not task.done()
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def rotation(authority: FakeAuthority, published: list[Identity], jitter: float = 0.0) -> Rotation:
    clock = authority.clock
    return Rotation(POD, issue=authority, publish=published.append, clock=clock, jitter=lambda: jitter, sleep=clock.sleep)


async def test_a_certificate_is_renewed_at_half_its_life_with_a_new_key() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    await until(clock, lambda: len(published) == 3, rotation(authority, published).run)
    halves = [identity.svid.not_before for identity in published]
    assert timedelta(hours=11, minutes=58) < halves[1] - halves[0] < timedelta(hours=12, minutes=2)
    assert len({identity.key_pem for identity in published}) == 3


async def test_jitter_keeps_pods_that_started_together_apart() -> None:
    clock, early, late = FakeClock(), list[Identity](), list[Identity]()
    await until(clock, lambda: len(early) == 2, rotation(FakeAuthority(clock), early, jitter=-1.0).run)
    clock = FakeClock()
    await until(clock, lambda: len(late) == 2, rotation(FakeAuthority(clock), late, jitter=1.0).run)
    assert late[1].svid.not_before - early[1].svid.not_before > timedelta(hours=2)


async def test_certificates_of_seconds_are_renewed_before_they_end() -> None:
    clock, published = FakeClock(), list[Identity]()
    await until(clock, lambda: len(published) == 20, rotation(FakeAuthority(clock, timedelta(seconds=4)), published, jitter=1.0).run)
    assert all(later.svid.not_before < earlier.svid.not_after for earlier, later in pairwise(published))


async def test_a_control_plane_that_is_down_is_asked_again_with_growing_pauses() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.failures = [NotReachable("api.sock", "nobody answers") for _ in range(6)]
    await until(clock, lambda: len(published) == 1, rotation(authority, published).run)
    assert clock.slept[:6] == [pytest.approx(0.1 * 2**step) for step in range(6)]


async def test_why_there_is_no_certificate_is_known_until_there_is_one() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.failures = [CertificateRefused("there is no pod shop/web-1")]
    rotating = rotation(authority, published)
    await until(clock, lambda: bool(rotating.problem), rotating.run)
    assert rotating.problem == "there is no pod shop/web-1"
    await until(clock, lambda: bool(published), rotating.run)
    assert rotating.problem == ""


async def test_attempts_come_often_enough_while_an_old_certificate_still_lives() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock, timedelta(seconds=20))
    rotating = rotation(authority, published)
    await until(clock, lambda: len(published) == 1, rotating.run)
    authority.failures = [NotReachable("api.sock", "gone") for _ in range(12)]
    await until(clock, lambda: len(published) == 3, rotating.run)
    assert published[2].svid.not_before < published[1].svid.not_after


async def test_long_waits_look_at_the_wall_clock_every_minute() -> None:
    clock, published = FakeClock(), list[Identity]()
    await until(clock, lambda: len(published) == 2, rotation(FakeAuthority(clock), published).run)
    assert max(clock.slept) <= 60.0


@pytest.mark.parametrize("jump", [timedelta(hours=13), timedelta(days=400)])
async def test_a_certificate_is_renewed_at_once_after_a_jump_forwards(jump: timedelta) -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [jump]
    await until(clock, lambda: len(published) == 2, rotation(FakeAuthority(clock), published).run)
    assert published[1].svid.not_before < START + jump + timedelta(seconds=2)
    assert published[1].svid.not_before > START + jump - timedelta(minutes=2)


async def test_a_certificate_that_is_not_valid_yet_after_a_jump_backwards_is_renewed_once() -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [timedelta(hours=-2)]
    authority = FakeAuthority(clock)
    rotating = rotation(authority, published)
    await until(clock, lambda: clock.time > START + timedelta(hours=6), rotating.run)
    assert [identity.svid.not_before for identity in published] == [START - timedelta(minutes=1), published[1].svid.not_before]
    assert published[1].svid.not_before < START - timedelta(hours=2)
    assert (len(authority.requests), rotating.problem) == (2, "")


async def test_a_jump_backwards_within_a_certificates_life_changes_nothing() -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [timedelta(seconds=-30)]
    rotating = rotation(FakeAuthority(clock), published)
    await until(clock, lambda: clock.time > START + timedelta(hours=11), rotating.run)
    assert len(published) == 1


async def test_a_control_plane_whose_clock_is_ahead_is_asked_with_growing_pauses_and_its_first_certificate_kept() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.ahead = timedelta(minutes=11)
    rotating = rotation(authority, published)
    await until(clock, lambda: bool(rotating.problem), rotating.run)
    assert "not valid before" in rotating.problem
    await until(clock, lambda: clock.time > START + timedelta(hours=1), rotating.run)
    assert (len(published), rotating.problem) == (1, "")
    assert len(authority.requests) < 40


async def test_the_key_belongs_to_the_certificate_and_is_in_no_repr() -> None:
    clock = FakeClock()
    identity = await obtain(POD, FakeAuthority(clock), clock.now)
    key = load_pem_private_key(identity.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == identity.svid.leaf.public_key()
    assert "PRIVATE" not in repr(identity)
    assert identity.key_pem.splitlines()[1].decode() not in repr(identity)


async def test_a_certificate_for_another_key_is_refused() -> None:
    clock = FakeClock()
    authority = FakeAuthority(clock)
    authority.other_key = True
    with pytest.raises(CertificateRefused, match="another key"):
        await obtain(POD, authority, clock.now)


async def test_a_certificate_for_another_identity_is_refused() -> None:
    clock = FakeClock()
    authority = FakeAuthority(clock)
    authority.service_account = "admin"
    with pytest.raises(CertificateRefused, match="admin"):
        await obtain(POD, authority, clock.now)


async def test_a_certificate_that_has_expired_already_is_refused() -> None:
    clock = FakeClock()
    with pytest.raises(CertificateRefused, match="clocks"):
        await obtain(POD, FakeAuthority(clock, timedelta(seconds=5)), lambda: START + timedelta(seconds=9))


@pytest.mark.parametrize("answer", [([], []), (["nonsense"], []), (["-----BEGIN CERTIFICATE-----"], ["x"])])
async def test_an_unusable_answer_is_refused(answer: tuple[list[str], list[str]]) -> None:
    async def issue(_pod: PodRef, _csr: str) -> tuple[list[str], list[str]]:
        return answer

    with pytest.raises(CertificateRefused, match="not usable"):
        await obtain(POD, issue, lambda: START)


class FakeApi(AsyncUnixHttp):
    """Answers as it was told and keeps what it was asked."""

    def __init__(self, status: int, answer: object) -> None:
        super().__init__("nowhere")
        self.status, self.answer = status, answer
        self.asked: list[tuple[str, str, object]] = []

    async def request(self, method: str, path: str, json: object = None, *_a: object, **_k: object) -> tuple[int, object]:
        self.asked.append((method, path, json))
        return self.status, self.answer


async def test_the_request_names_pod_and_node_and_carries_the_csr() -> None:
    api = FakeApi(200, {"certificateChain": ["a", "b"], "trustBundle": ["c"]})
    assert await CertificateClient(api)(POD, "CSR") == (["a", "b"], ["c"])
    pod = {"namespace": "shop", "name": "web-1", "uid": "u-1"}
    assert api.asked == [("POST", "/v1/certificates", {"csr": "CSR", "pod": pod, "node": "here"})]


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (403, {"problems": [{"message": "there is no such pod"}]}, "there is no such pod"),
        (500, None, "status 500"),
        (200, {"something": "else"}, "status 200"),
        (200, ["x"], "status 200"),
    ],
)
async def test_a_refusal_is_told_in_the_control_planes_words(status: int, answer: object, reason: str) -> None:
    with pytest.raises(CertificateRefused, match=reason):
        await CertificateClient(FakeApi(status, answer))(POD, "CSR")
