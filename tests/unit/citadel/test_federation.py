"""Which bundles are taken, from whom, and what agents are told (40: bundles of different domains are never merged)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.citadel.foreign import Domain

from hauberk.citadel.bundle_fetch import Server, SpiffeServer
from hauberk.citadel.federation import FederationRefused, Profile, Source, accept_bundle, check_source, poll_interval
from hauberk.citadel.federation_settings import FederationSettings
from hauberk.citadel.federations import Federations
from hauberk.citadel.ground import Ground
from hauberk.identity.bundle_document import InvalidBundle, parse_bundle
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust import Trust
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.clock import SystemClock
from hauberk.kit.web_fetch import FetchFailed

URL = "https://b.example/"
ENDPOINT = "spiffe://b.td/hauberk/bundle-endpoint"


class Endpoint:
    """An endpoint of another mesh: answers what it has, or fails with the reason it has; remembers who it had to be."""

    def __init__(self) -> None:
        self.has: bytes | Exception = b""
        self.asked: list[tuple[str, Server]] = []

    async def __call__(self, url: str, server: Server) -> bytes:
        self.asked.append((url, server))
        if isinstance(self.has, Exception):
            raise self.has
        return self.has


class Pace:
    """Sleeps as long as it is told to: until `pass_`."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[float] = asyncio.Queue()
        self._over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self._over.clear()
        self._asked.put_nowait(seconds)
        await self._over.wait()

    async def next(self) -> int:
        """The next length of time that is slept."""
        return round(await asyncio.wait_for(self._asked.get(), 5))

    def pass_(self) -> None:
        self._over.set()


@pytest.fixture(scope="module")
def b() -> Domain:
    return Domain("b.td")


@pytest.fixture(scope="module")
def c() -> Domain:
    return Domain("c.td")


@pytest.fixture
def endpoint(b: Domain) -> Endpoint:
    made = Endpoint()
    made.has = b.document(1)
    return made


@pytest.fixture
def grounds(tmp_path: Path) -> Iterator[Callable[[], Ground]]:
    opened: list[Ground] = []

    def open_ground() -> Ground:
        for each in opened:
            each.close()
        directory = tmp_path / "ca"
        directory.mkdir(exist_ok=True)
        opened[:] = [Ground.open(directory, trust_domain="a.td", clock=SystemClock(), audit=tmp_path / "audit")]
        return opened[0]

    yield open_ground
    for each in opened:
        each.close()


@pytest.fixture
def ground(grounds: Callable[[], Ground]) -> Ground:
    return grounds()


@pytest.fixture
def federations(ground: Ground, endpoint: Endpoint) -> Federations:
    return Federations(ground, FederationSettings(), fetch=endpoint)


def web(name: str = "b.td") -> Source:
    return Source(trust_domain=name, url=URL)


def spiffe(endpoint_id: str = ENDPOINT) -> Source:
    return Source(trust_domain="b.td", url=URL, profile=Profile.SPIFFE, endpoint_id=endpoint_id)


def events(ground: Ground) -> list[tuple[str, str]]:
    path = ground.directory.parent / "audit" / "records" / "000000000000.jsonl"
    return [(each["kind"], each["subject"]) for each in map(json.loads, path.read_text().splitlines())]


def told(ground: Ground) -> dict[str, int]:
    return {each.trust_domain: each.sequence for each in ground.publication.trust.federated}


async def test_a_url_is_asked_at_once_and_what_it_has_is_published(federations: Federations, ground: Ground, b: Domain) -> None:
    before = ground.publication.trust.sequence
    await federations.federate(web(), None, "jo")
    assert ground.publication.trust.federated == (b.bundle(1),)
    assert ground.publication.trust.sequence > before
    assert events(ground) == [("federated", "b.td")]


async def test_40_bundles_stand_beside_each_other_and_ours(federations: Federations, ground: Ground, b: Domain, c: Domain) -> None:
    for each in (c, b):
        await federations.federate(Source(trust_domain=each.name), each.document(), "jo")
    trust = ground.publication.trust
    assert trust.federated == (b.bundle(1), c.bundle(1))
    assert trust.x509_authorities == ()


async def test_a_restart_forgets_neither_bundle_nor_sequence(
    federations: Federations, grounds: Callable[[], Ground], endpoint: Endpoint, b: Domain
) -> None:
    await federations.federate(web(), None, "jo")
    endpoint.has = b.document(9)
    await federations.refresh(web())
    ground = grounds()
    again = Federations(ground, FederationSettings(), fetch=endpoint)
    assert told(ground) == {"b.td": 9}
    endpoint.has = b.document(8)
    await again.refresh(web())
    assert told(ground) == {"b.td": 9}


async def test_a_newer_bundle_takes_the_place_of_the_former(
    federations: Federations, ground: Ground, endpoint: Endpoint, b: Domain, c: Domain
) -> None:
    await federations.federate(web(), None, "jo")
    endpoint.has = b.document(2, roots=(b.root, c.root))
    await federations.refresh(web())
    assert ground.publication.trust.federated == (b.bundle(2, roots=(b.root, c.root)),)
    assert events(ground)[-1] == ("bundle-fetched", "b.td")


async def test_23_a_bundle_without_keys_is_taken_for_it_says_that_all_are_revoked(
    federations: Federations, ground: Ground, endpoint: Endpoint, b: Domain
) -> None:
    await federations.federate(web(), None, "jo")
    endpoint.has = b.document(2, roots=())
    await federations.refresh(web())
    assert ground.publication.trust.federated == (b.bundle(2, roots=()),)


@pytest.mark.parametrize(
    "answer",
    [
        FetchFailed("the endpoint is down"),
        b"",
        b"{}",
        b'{"spiffe_sequence": 4, "keys": []}',
        b'{"keys": []}',
        b'{"spiffe_sequence": 6, "keys": [{"kty": "EC", "use": "x509-svid", "x5c": ["broken"]}]}',
    ],
)
async def test_whatever_an_endpoint_answers_wrongly_the_last_good_bundle_stays_and_the_reason_is_told(
    federations: Federations, ground: Ground, endpoint: Endpoint, b: Domain, answer: bytes | Exception
) -> None:
    endpoint.has = b.document(5)
    await federations.federate(web(), None, "jo")
    sequence = ground.publication.trust.sequence
    endpoint.has = answer
    for _ in range(2):
        await federations.refresh(web())
    (row,) = federations.list()
    assert row.bundle == b.bundle(5)
    assert row.problem
    assert ground.publication.trust.sequence == sequence
    # Told once, not at every poll.
    assert [kind for kind, _ in events(ground)].count("bundle-refused") == 1
    endpoint.has = b.document(5)
    await federations.refresh(web())
    assert federations.list()[0].problem == ""


async def test_a_refused_federation_changes_nothing(federations: Federations, ground: Ground, endpoint: Endpoint) -> None:
    endpoint.has = FetchFailed("nobody there")
    with pytest.raises(FederationRefused, match="nobody there"):
        await federations.federate(web(), None, "jo")
    assert federations.list() == ()
    assert told(ground) == {}


async def test_with_a_first_bundle_the_endpoint_may_be_down(
    federations: Federations, ground: Ground, endpoint: Endpoint, b: Domain
) -> None:
    endpoint.has = FetchFailed("nobody there")
    row = await federations.federate(spiffe(), b.document(3), "jo")
    assert row.problem == "nobody there"
    assert told(ground) == {"b.td": 3}


async def test_42_https_spiffe_needs_an_identity_and_a_first_bundle(federations: Federations, endpoint: Endpoint, b: Domain) -> None:
    for source, said in ((spiffe(), "no bundle of b.td yet"), (spiffe(""), "no endpoint's SPIFFE ID"), (spiffe("https://x"), "begin with")):
        with pytest.raises(FederationRefused, match=said):
            await federations.federate(source, None, "jo")
    assert endpoint.asked == []
    await federations.federate(spiffe(), b.document(1), "jo")
    assert [server for _, server in endpoint.asked] == [SpiffeServer(spiffe_id=SpiffeId.parse(ENDPOINT), authorities=(b.root,))]


async def test_44_an_endpoint_that_serves_its_own_bundle_is_proven_by_the_latest(
    federations: Federations, endpoint: Endpoint, b: Domain, c: Domain
) -> None:
    endpoint.has = b.document(2, roots=(b.root, c.root))
    await federations.federate(spiffe(), b.document(1), "jo")
    await federations.refresh(spiffe())
    _, server = endpoint.asked[-1]
    assert isinstance(server, SpiffeServer)
    assert tuple(server.authorities) == (b.root, c.root)


async def test_44_an_endpoint_of_another_domain_is_proven_by_that_domains_bundle(
    federations: Federations, endpoint: Endpoint, b: Domain, c: Domain
) -> None:
    await federations.federate(Source(trust_domain="c.td"), c.document(), "jo")
    await federations.federate(spiffe("spiffe://c.td/publisher"), None, "jo")
    _, server = endpoint.asked[-1]
    assert server == SpiffeServer(spiffe_id=SpiffeId.parse("spiffe://c.td/publisher"), authorities=(c.root,))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source(trust_domain="a.td"), "own trust domain"),
        (Source(trust_domain="old.td"), "own trust domain"),
        (Source(trust_domain="cluster.local"), "policies say"),
        (Source(trust_domain="B.td"), "no trust domain"),
        (Source(trust_domain="spiffe://b.td"), "no trust domain"),
        (Source(trust_domain="b.td", url=URL, endpoint_id=ENDPOINT), "for the profile https_spiffe"),
    ],
)
def test_42_what_cannot_be_federated_is_refused_with_what_to_do(source: Source, said: str) -> None:
    with pytest.raises(FederationRefused, match=said) as refused:
        check_source(source, ("a.td", "old.td"))
    assert refused.value.hint


async def test_neither_url_nor_file_is_refused_and_so_is_a_broken_file(federations: Federations, b: Domain) -> None:
    with pytest.raises(FederationRefused, match="neither a URL nor a file"):
        await federations.federate(Source(trust_domain="b.td"), None, "jo")
    pem = to_pem(b.root)
    with pytest.raises(FederationRefused, match="certificate 2"):
        await federations.federate(Source(trust_domain="b.td"), (pem + pem.replace("MII", "MIJ") + pem).encode(), "jo")
    assert federations.list() == ()


async def test_a_file_in_pem_is_kept_as_a_bundle_and_may_be_followed_by_one_that_counts(
    federations: Federations, endpoint: Endpoint, b: Domain
) -> None:
    row = await federations.federate(Source(trust_domain="b.td"), to_pem(b.root).encode(), "jo")
    assert (row.bundle.x509_authorities, row.bundle.sequence) == ((b.root,), 0)
    endpoint.has = b.document(1)
    assert (await federations.federate(web(), None, "jo")).bundle.sequence == 1


async def test_a_removed_domain_is_believed_no_more_even_if_its_endpoint_is_just_answering(
    federations: Federations, ground: Ground, endpoint: Endpoint, b: Domain
) -> None:
    await federations.federate(web(), None, "jo")
    removed = False

    async def fetch(url: str, server: Server) -> bytes:
        nonlocal removed
        removed = await federations.remove("b.td", "jo")
        return b.document(2)

    federations._fetch = fetch
    await federations.refresh(web())
    assert removed
    assert told(ground) == {}
    assert events(ground)[-1] == ("federation-ended", "b.td")
    assert not await federations.remove("b.td", "jo")


async def test_45_endpoints_are_asked_at_the_pace_of_their_hints(ground: Ground, endpoint: Endpoint, b: Domain) -> None:
    pace = Pace()
    federations = Federations(ground, FederationSettings(), fetch=endpoint, sleep=pace, jitter=lambda: 0.0)
    endpoint.has = b.document(1, hint=60)
    running = asyncio.create_task(federations.run())
    try:
        await federations.federate(web(), None, "jo")
        assert await pace.next() == 60
        endpoint.has = b.document(2, hint=120)
        pace.pass_()
        assert await pace.next() == 120
        # On failure the next poll is waited for.
        endpoint.has = FetchFailed("down")
        pace.pass_()
        assert await pace.next() == 120
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_nobody_is_asked_more_often_than_is_set_whatever_he_hints_at(ground: Ground, endpoint: Endpoint, b: Domain) -> None:
    pace = Pace()
    federations = Federations(ground, FederationSettings(soonest=timedelta(seconds=90)), fetch=endpoint, sleep=pace, jitter=lambda: 0.0)
    endpoint.has = b.document(1, hint=1)
    running = asyncio.create_task(federations.run())
    try:
        await federations.federate(web(), None, "jo")
        assert await pace.next() == 90
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_whatever_goes_wrong_with_one_endpoint_is_a_problem_of_that_one_only(ground: Ground, endpoint: Endpoint, b: Domain) -> None:
    pace = Pace()
    federations = Federations(ground, FederationSettings(), fetch=endpoint, sleep=pace, jitter=lambda: 0.0)
    running = asyncio.create_task(federations.run())
    try:
        await federations.federate(web(), None, "jo")
        await pace.next()
        endpoint.has = RuntimeError("nobody thought of that")
        pace.pass_()
        await pace.next()
        assert [each.problem for each in federations.list()] == ["RuntimeError: nobody thought of that"]
        endpoint.has = b.document(2)
        pace.pass_()
        await pace.next()
        assert (told(ground), federations.list()[0].problem) == ({"b.td": 2}, "")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_hint_is_followed_within_reason_and_readers_are_spread() -> None:
    minute, day = timedelta(minutes=1), timedelta(days=1)
    assert poll_interval(minute, 0) == minute
    assert poll_interval(timedelta(0), 0) == timedelta(seconds=30)
    assert poll_interval(day * 300, 0) == day
    assert poll_interval(minute, 1) - poll_interval(minute, -1) == minute / 5


def test_39_22_the_sequence_never_goes_back(b: Domain) -> None:
    current = parse_bundle(b.document(5), "b.td")
    for sequence, taken in ((4, False), (5, True), (6, True)):
        if taken:
            assert accept_bundle(b.document(sequence), "b.td", current).bundle.sequence == sequence
        else:
            with pytest.raises(InvalidBundle, match="older than 5"):
                accept_bundle(b.document(sequence), "b.td", current)
    with pytest.raises(InvalidBundle, match="no sequence"):
        accept_bundle(b'{"keys": []}', "b.td", current)
    without = replace(current, has_sequence=False)
    assert accept_bundle(b.document(1), "b.td", without).bundle.sequence == 1


def test_an_alias_is_ours_whoever_is_federated_by_that_name(b: Domain, c: Domain) -> None:
    trust = Trust(sequence=1, trust_domain="a.td", x509_authorities=(c.root,), federated=(b.bundle(),), aliases=("b.td", "z.td"))
    assert {each.trust_domain: each.x509_authorities for each in trust.others} == {"b.td": (c.root,), "z.td": (c.root,)}


def test_a_sequence_of_64_bits_reaches_the_agents(b: Domain) -> None:
    trust = Trust(sequence=1, trust_domain="a.td", federated=(b.bundle(2**64 - 1),), aliases=("old.td",))
    assert Trust.from_wire(trust.to_wire()) == trust
