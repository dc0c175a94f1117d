"""Keys and certificates of a pod: made, checked, renewed in time, tried again; with an authority, a clock and a wait of the test's own."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from hauberk.agent.citadel_client import CertificateRefused, CitadelBusy, CitadelUnreachable, NotIssued
from hauberk.agent.rotation import Identity, Rotation, describe_skew, obtain, spread
from hauberk.identity.rotation import Phase
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust import Trust
from hauberk.identity.wire import IssueReply

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
WEB = ("shop", "web")


class FakeClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = START
        self.passed = 0.0
        self.slept: list[float] = []
        self.jumps: list[timedelta] = []  # the next long wait ends at once, because the clock was set by so much

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.passed

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await asyncio.sleep(0)
        if event.is_set():
            return
        self.slept.append(seconds)
        if self.jumps and seconds >= 60:
            self.time += self.jumps.pop()
            return
        self.time += timedelta(seconds=seconds)
        self.passed += seconds


class FakeAuthority:
    """Signs what it is asked for; `failures` come first."""

    def __init__(self, clock: FakeClock, lifetime: timedelta = timedelta(hours=24)) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.failures: list[NotIssued] = []
        self.requests: list[bytes] = []
        self.asked_at: list[datetime] = []
        self.service_account = "web"
        self.other_key = self.hangs = False
        self.ahead = timedelta()  # of its clock
        self.name = "A"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._root = build_root(
            trust_domain="cluster.local",
            public_key=self._key.public_key(),
            serial=1,
            now=START - timedelta(days=9),
            lifetime=timedelta(days=999),
        ).sign(self._key, hashes.SHA256())

    async def __call__(self, csr: bytes) -> IssueReply:
        self.asked_at.append(self.clock.now())
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            raise self.failures.pop(0)
        key = x509.load_der_x509_csr(csr).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.requests.append(csr)
        leaf = build_leaf(
            spiffe_id=workload_id("cluster.local", "shop", self.service_account),
            public_key=ec.generate_private_key(ec.SECP256R1()).public_key() if self.other_key else key,
            issuer=self._root,
            serial=len(self.requests),
            now=self.clock.now() + self.ahead,
            lifetime=self.lifetime,
        ).sign(self._key, hashes.SHA256())
        return IssueReply(chain_der=(leaf.public_bytes(Encoding.DER),), trust_sequence=1, authority_id=self.name)


async def until(condition: Callable[[], bool], *run: Callable[[], Awaitable[object]]) -> None:
    """Let `run` go on until `condition` holds."""
    tasks = [asyncio.ensure_future(each()) for each in run]
    for _ in range(100_000):
        if condition():
            break
        assert not any(task.done() for task in tasks), tasks
        await asyncio.sleep(0)
    assert condition()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def rotation(authority: FakeAuthority, published: list[Identity], jitter: float = 0.0, phases: list[Phase] | None = None) -> Rotation:
    clock, seen = authority.clock, phases if phases is not None else []
    return Rotation(
        "shop/web-1",
        issue=authority,
        publish=published.append,
        account=WEB,
        node="here",
        clock=clock,
        jitter=lambda: jitter,
        wait=clock.wait,
        on_phase=seen.append,
    )


def unreachable(times: int) -> list[NotIssued]:
    return [CitadelUnreachable("nobody answers") for _ in range(times)]


async def test_a_certificate_is_renewed_at_half_its_life_with_a_new_key() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    await until(lambda: len(published) == 3, rotation(authority, published).run)
    halves = [identity.svid.not_before for identity in published]
    assert timedelta(hours=11, minutes=58) < halves[1] - halves[0] < timedelta(hours=12, minutes=2)
    assert len({identity.key_pem for identity in published}) == 3


async def test_jitter_keeps_pods_that_started_together_apart() -> None:
    clock, early, late = FakeClock(), list[Identity](), list[Identity]()
    await until(lambda: len(early) == 2, rotation(FakeAuthority(clock), early, jitter=-1.0).run)
    clock = FakeClock()
    await until(lambda: len(late) == 2, rotation(FakeAuthority(clock), late, jitter=1.0).run)
    assert late[1].svid.not_before - early[1].svid.not_before > timedelta(hours=2)


async def test_certificates_of_seconds_are_renewed_before_they_end() -> None:
    clock, published = FakeClock(), list[Identity]()
    await until(lambda: len(published) == 20, rotation(FakeAuthority(clock, timedelta(seconds=4)), published, jitter=1.0).run)
    assert all(later.svid.not_before < earlier.svid.not_after for earlier, later in pairwise(published))


async def test_a_control_plane_that_is_down_is_asked_again_with_growing_pauses() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.failures = unreachable(6)
    await until(lambda: len(published) == 1, rotation(authority, published).run)
    assert clock.slept[:6] == pytest.approx([0.1 * 2**step for step in range(6)])


async def test_why_there_is_no_certificate_is_known_until_there_is_one() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.failures = [CertificateRefused("there is no pod shop/web-1")]
    rotating = rotation(authority, published)
    await until(lambda: bool(rotating.problem), rotating.run)
    assert rotating.problem == "there is no pod shop/web-1"
    await until(lambda: bool(published), rotating.run)
    assert rotating.problem == ""


async def test_attempts_come_often_enough_while_an_old_certificate_still_lives() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock, timedelta(seconds=20))
    rotating = rotation(authority, published)
    await until(lambda: len(published) == 1, rotating.run)
    authority.failures = unreachable(12)
    await until(lambda: len(published) == 3, rotating.run)
    assert published[2].svid.not_before < published[1].svid.not_after


async def test_long_waits_look_at_the_wall_clock_every_minute() -> None:
    clock, published = FakeClock(), list[Identity]()
    await until(lambda: len(published) == 2, rotation(FakeAuthority(clock), published).run)
    assert max(clock.slept) <= 60.0


@pytest.mark.parametrize("jump", [timedelta(hours=13), timedelta(days=400)])
async def test_a_certificate_is_renewed_at_once_after_a_jump_forwards(jump: timedelta) -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [jump]
    await until(lambda: len(published) == 2, rotation(FakeAuthority(clock), published).run)
    assert published[1].svid.not_before < START + jump + timedelta(seconds=2)
    assert published[1].svid.not_before > START + jump - timedelta(minutes=2)


async def test_a_certificate_that_is_not_valid_yet_after_a_jump_backwards_is_renewed_once() -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [timedelta(hours=-2)]
    authority = FakeAuthority(clock)
    rotating = rotation(authority, published)
    await until(lambda: clock.time > START + timedelta(hours=6), rotating.run)
    assert [identity.svid.not_before for identity in published] == [START - timedelta(minutes=1), published[1].svid.not_before]
    assert published[1].svid.not_before < START - timedelta(hours=2)
    assert (len(authority.requests), rotating.problem) == (2, "")


async def test_a_jump_backwards_within_a_certificates_life_changes_nothing() -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [timedelta(seconds=-30)]
    rotating = rotation(FakeAuthority(clock), published)
    await until(lambda: clock.time > START + timedelta(hours=11), rotating.run)
    assert len(published) == 1


async def test_a_control_plane_whose_clock_is_ahead_is_asked_with_growing_pauses_and_its_first_certificate_kept() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.ahead = timedelta(minutes=11)
    rotating = rotation(authority, published)
    await until(lambda: bool(rotating.problem), rotating.run)
    assert "not valid yet" in rotating.problem
    await until(lambda: clock.time > START + timedelta(hours=1), rotating.run)
    assert (len(published), rotating.failing) == (1, False)
    assert "the clock of here is 0:11:00 behind" in rotating.problem  # it still is
    assert len(authority.requests) < 40


async def test_a_hint_of_when_to_come_again_is_heeded() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock, timedelta(seconds=20))
    authority.failures = [CitadelBusy("too many requests", 7.0)]
    rotating = rotation(authority, published, jitter=-1.0)
    await until(lambda: len(published) == 1, rotating.run)
    assert (authority.asked_at[1] - authority.asked_at[0]).total_seconds() == pytest.approx(7.0)


async def test_an_alarm_is_told_at_two_thirds_of_a_life_and_its_end_and_the_end_of_the_trouble() -> None:
    clock, published, phases, told = FakeClock(), list[Identity](), list[Phase](), list[str]()
    authority = FakeAuthority(clock, timedelta(minutes=50))
    rotating = rotation(authority, published, phases=phases)
    await until(lambda: len(published) == 1, rotating.run)
    authority.failures = unreachable(200)
    clock.time = published[0].svid.not_after - timedelta(minutes=20)
    await until(lambda: rotating.failing, rotating.run)
    assert rotating.problem == "nobody answers"
    for expected, at in (("ends at", timedelta(minutes=-5)), ("ended at", timedelta())):
        clock.time = published[0].svid.not_after + at
        await until(lambda: len(phases) > len(told), rotating.watch)
        told.append(rotating.problem)
        assert expected in told[-1]
        assert "nobody answers" in told[-1]
    authority.failures = []
    await until(lambda: len(published) == 2, rotating.run)
    await until(lambda: len(phases) == 3, rotating.watch)
    assert (phases, rotating.problem) == ([Phase.ALARMING, Phase.ENDED, Phase.GOOD], "")


async def test_after_the_end_of_a_short_life_attempts_come_often_still() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock, timedelta(minutes=1))
    rotating = rotation(authority, published)
    await until(lambda: len(published) == 1, rotating.run)
    authority.failures = unreachable(500)
    await until(lambda: clock.time > published[0].svid.not_after + timedelta(minutes=5), rotating.run)
    late = [moment for moment in authority.asked_at if moment > published[0].svid.not_after]
    assert max(after - before for before, after in pairwise(late)) < timedelta(seconds=4)


async def test_an_authority_that_does_not_answer_at_all_is_a_reason_too() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock, timedelta(seconds=20))
    rotating = rotation(authority, published)
    await until(lambda: len(published) == 1, rotating.run)
    authority.hangs = True
    await until(lambda: len(authority.asked_at) == 2, rotating.run)
    task = asyncio.ensure_future(rotating.run())
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(authority.asked_at) == 3
    clock.time, clock.passed = published[0].svid.not_after, clock.passed + 11
    assert (rotating.failing, rotating.phase) == (True, Phase.ENDED)
    assert "ended at" in rotating.problem
    assert "has not answered for 11 s" in rotating.problem
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_old_certificate_is_in_use_to_its_last_moment() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock, timedelta(seconds=20))
    rotating = rotation(authority, published)
    await until(lambda: len(published) == 1, rotating.run)
    authority.failures = unreachable(500)
    await until(lambda: rotating.phase is Phase.ENDED, rotating.run)
    assert rotating.identity is published[0]
    assert clock.time - published[0].svid.not_after < timedelta(seconds=1)


async def test_the_certificate_that_an_earlier_agent_gave_ends_also_if_there_never_is_another() -> None:
    clock, published, phases = FakeClock(), list[Identity](), list[Phase]()
    authority = FakeAuthority(clock, timedelta(hours=1))
    await until(lambda: len(published) == 1, rotation(authority, published).run)
    authority.failures = unreachable(500)
    successor = rotation(authority, [], phases=phases)
    successor.inherit(published[0].svid)
    await until(lambda: phases == [Phase.ALARMING, Phase.ENDED], successor.run, successor.watch)
    assert timedelta() <= clock.time - published[0].svid.not_after < timedelta(minutes=1)
    assert "ended at" in successor.problem
    authority.failures = []
    await until(lambda: successor.phase is Phase.GOOD, successor.run)


async def test_those_that_failed_try_again_within_a_window_when_the_authority_is_back() -> None:
    moments: list[float] = []
    for jitter in (-1.0, -0.5, 0.0, 0.5, 1.0):
        clock, published = FakeClock(), list[Identity]()
        authority = FakeAuthority(clock)
        authority.failures = unreachable(12)
        rotating = rotation(authority, published, jitter=jitter)
        await until(lambda a=authority: not a.failures, rotating.run)  # type: ignore[misc]  # what lambda binds by default
        back = clock.passed
        rotating.hasten(timedelta(seconds=10))
        await until(lambda p=published: bool(p), rotating.run)  # type: ignore[misc]
        moments.append(clock.passed - back)
    assert moments == sorted(moments)
    assert max(moments) <= 35.0


async def test_an_attempt_that_fails_after_the_authority_is_back_is_made_again_as_soon() -> None:
    clock, published, answers = FakeClock(), list[Identity](), asyncio.Queue[NotIssued | None]()
    begun = asyncio.Event()
    authority = FakeAuthority(clock)
    authority.failures = unreachable(12)
    rotating = rotation(authority, published)

    async def slow(csr: bytes) -> IssueReply:
        begun.set()
        if (failure := await answers.get()) is not None:
            raise failure
        return await authority(csr)

    await until(lambda: not authority.failures, rotating.run)
    rotating._issue = slow
    task = asyncio.ensure_future(rotating.run())
    await until(begun.is_set)
    back = clock.passed
    rotating.hasten(timedelta(seconds=1))
    answers.put_nowait(unreachable(1)[0])
    answers.put_nowait(None)
    await until(lambda: bool(published))
    assert clock.passed - back <= 1.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_one_machine_spreads_what_it_asks_for_as_widely_as_the_whole_mesh_needs() -> None:
    mesh = Trust(sequence=1, trust_domain="cluster.local", renewal_window=timedelta(seconds=64))
    assert spread(mesh, 15) == timedelta(seconds=64)
    assert spread(replace(mesh, renewal_window=timedelta()), 100) == spread(None, 100) == timedelta(seconds=2)


async def test_leaves_of_an_authority_are_renewed_when_that_is_ordered_each_at_its_own_time() -> None:
    moments: list[float] = []
    for jitter in (-1.0, 0.0, 1.0):
        clock, published = FakeClock(), list[Identity]()
        authority = FakeAuthority(clock)
        rotating = rotation(authority, published, jitter=jitter)
        await until(lambda p=published: len(p) == 1, rotating.run)  # type: ignore[misc]
        authority.name, ordered = "B", clock.time
        rotating.heed(frozenset({"A"}), timedelta(seconds=10))
        rotating.heed(frozenset({"A"}), timedelta(seconds=10))
        await until(lambda p=published: len(p) == 2, rotating.run)  # type: ignore[misc]
        moments.append((authority.asked_at[1] - ordered).total_seconds())
        assert published[1].authority_id == "B"
    assert moments[0] < 1.0
    assert moments[1:] == pytest.approx([5.0, 10.0], abs=0.2)


async def test_an_order_that_is_no_use_becomes_no_loop() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    rotating = rotation(authority, published)
    rotating.heed(frozenset({"A"}), timedelta(seconds=1))
    await until(lambda: clock.time > START + timedelta(minutes=5), rotating.run)
    assert len(published) < 25


async def test_an_order_for_another_authority_changes_nothing() -> None:
    clock, published = FakeClock(), list[Identity]()
    rotating = rotation(FakeAuthority(clock), published)
    await until(lambda: len(published) == 1, rotating.run)
    rotating.heed(frozenset({"B"}), timedelta(seconds=1))
    await until(lambda: clock.time > START + timedelta(hours=10), rotating.run)
    assert len(published) == 1


@pytest.mark.parametrize("leap", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=1), timedelta(days=-1)])
async def test_a_leap_of_the_clock_and_back_costs_at_most_two_renewals(leap: timedelta) -> None:
    clock, published = FakeClock(), list[Identity]()
    clock.jumps = [-leap, leap]
    authority = FakeAuthority(clock)
    rotating = rotation(authority, published)
    await until(lambda: clock.passed > 3 * 3600, rotating.run)
    assert len(authority.asked_at) <= 3
    assert rotating.problem == ""


async def test_a_clock_that_differs_too_much_is_named_with_its_machine_and_the_certificate_is_used() -> None:
    clock, published = FakeClock(), list[Identity]()
    authority = FakeAuthority(clock)
    authority.ahead = timedelta(minutes=-11)
    rotating = rotation(authority, published)
    await until(lambda: bool(published), rotating.run)
    assert "the clock of here is 0:11:00 ahead of the control plane's" in rotating.problem
    assert not rotating.failing


@pytest.mark.parametrize(("seconds", "said"), [(50, ""), (-50, ""), (90, "behind"), (-90, "ahead of")])
async def test_a_difference_that_back_dating_covers_is_not_worth_a_word(seconds: int, said: str) -> None:
    clock = FakeClock()
    authority = FakeAuthority(clock)
    authority.ahead = timedelta(seconds=seconds)
    identity = await obtain(authority, WEB, clock.now)
    assert (said in describe_skew(identity.svid, clock.now(), "here")) is True
    assert bool(describe_skew(identity.svid, clock.now(), "here")) is bool(said)


async def test_the_key_belongs_to_the_certificate_and_is_in_no_repr() -> None:
    clock = FakeClock()
    identity = await obtain(FakeAuthority(clock), WEB, clock.now)
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
        await obtain(authority, WEB, clock.now)


async def test_a_certificate_for_another_identity_is_refused() -> None:
    clock = FakeClock()
    authority = FakeAuthority(clock)
    authority.service_account = "admin"
    with pytest.raises(CertificateRefused, match="admin"):
        await obtain(authority, WEB, clock.now)


async def test_a_certificate_that_has_expired_already_is_refused() -> None:
    clock = FakeClock()
    with pytest.raises(CertificateRefused, match="clock"):
        await obtain(FakeAuthority(clock, timedelta(seconds=5)), WEB, lambda: START + timedelta(seconds=9))


@pytest.mark.parametrize("chain", [(), (b"nonsense",)])
async def test_an_unusable_answer_is_refused(chain: tuple[bytes, ...]) -> None:
    async def issue(_csr: bytes) -> IssueReply:
        return IssueReply(chain_der=chain, trust_sequence=1, authority_id="A")

    with pytest.raises(CertificateRefused, match="not usable"):
        await obtain(issue, WEB, lambda: START)


class FakeOutage(FakeAuthority):
    """Answers until one moment and from another one on."""

    back: datetime = START

    async def __call__(self, csr: bytes) -> IssueReply:
        down = self.requests and self.clock.now() < self.back
        self.failures = unreachable(1) if down else []
        return await super().__call__(csr)


@pytest.mark.parametrize("told", [True, False], ids=["its agent is told", "nobody tells it"])
async def test_after_an_outage_all_renew_within_two_minutes_and_never_together(told: bool) -> None:
    random, moments, back = Random(7), list[float](), START + timedelta(minutes=40)
    for _ in range(60):
        clock, published = FakeClock(), list[Identity]()
        authority = FakeOutage(clock, timedelta(hours=1))
        authority.back = back
        rotating = Rotation(
            "shop/web", issue=authority, publish=published.append, clock=clock, jitter=lambda: random.uniform(-1, 1), wait=clock.wait
        )
        await until(lambda c=clock: c.time > back - timedelta(seconds=30), rotating.run)  # type: ignore[misc]  # what lambda binds by default
        if told:
            clock.time = max(clock.time, back)
            rotating.hasten(timedelta(seconds=3))
        await until(lambda p=published: len(p) == 2, rotating.run)  # type: ignore[misc]
        moments.append((authority.asked_at[-1] - back).total_seconds())
    assert max(moments) < (35 if told else 120)
    seconds = Counter(int(moment) for moment in moments)
    assert max(seconds.values()) < len(moments) * (0.6 if told else 0.3)
