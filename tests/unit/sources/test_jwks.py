"""When keys are fetched, how long they count, what of them is told, and what a restart remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.api.metadata import ApiObject
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.identity.jwk_key import encode_public_key
from hauberk.kit.web_fetch import FetchFailed
from hauberk.mesh.issuer_keys import IssuerKeys, KeySource, KnownKeys
from hauberk.mesh.jwks import UsableKeys, usable_keys
from hauberk.sources.change import Event, EventType
from hauberk.sources.jwks import KeyRing
from hauberk.sources.jwks_cache import JwksCache
from hauberk.sources.jwks_settings import JwksSettings

Typed = TypeVar("Typed", bound=ApiObject)


def jwks() -> str:
    jwk = encode_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    return usable_keys(json.dumps({"keys": [jwk]})).text


FIRST, SECOND = jwks(), jwks()
URI = "https://keys.example/"
SOURCE = KeySource(URI)


def authentication(name: str, *uris: str, timeout: str = "5s") -> RequestAuthentication:
    rules = [{"issuer": f"https://{number}", "jwksUri": uri, "timeout": timeout} for number, uri in enumerate(uris)]
    return RequestAuthentication.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": {"jwtRules": rules}})


class World:
    """Objects, providers and a clock that the test moves; sleepers wait until it has moved far enough."""

    def __init__(self, path: Path, *objects: RequestAuthentication) -> None:
        self.objects = list(objects)
        self.answers: dict[KeySource, str | Exception] = {}
        self.asked: list[tuple[KeySource, float]] = []
        self.told: list[KnownKeys] = []
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.path = path
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._events: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue()

    # --- objects

    def of(self, model: type[Typed]) -> tuple[Typed, ...]:
        return tuple(each for each in self.objects if isinstance(each, model))

    async def subscribe(self, kinds: Collection[str] | None = None, since: int | None = None) -> AsyncIterator[tuple[Event, ...]]:
        yield self._news()
        while True:
            yield await self._events.get()

    def _news(self) -> tuple[Event, ...]:
        return tuple(Event(EventType.MODIFIED, each, 1) for each in self.objects)

    def change(self, *objects: RequestAuthentication) -> None:
        self.objects = list(objects)
        self._events.put_nowait(self._news())

    # --- time

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + timedelta(seconds=seconds), future))
        await future

    async def pass_(self, seconds: float) -> None:
        """So many seconds later, everything that was due has happened."""
        end = self.time + timedelta(seconds=seconds)
        await self.rest()
        while due := [each for each in self._sleepers if each[0] <= end and not each[1].done()]:
            self.time, future = min(due, key=lambda each: each[0])
            future.set_result(None)
            await self.rest()
        self.time = end

    async def rest(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
        for _ in range(20):
            await asyncio.sleep(0)

    # --- providers

    async def fetch(self, source: KeySource, seconds: float, _: JwksSettings) -> UsableKeys:
        self.asked.append((source, seconds))
        answer = self.answers.get(source, FetchFailed("nobody there"))
        if isinstance(answer, Exception):
            raise answer
        return UsableKeys(answer)

    def ring(self, **settings: Any) -> KeyRing:
        return KeyRing(
            self,
            JwksCache(self.path / "jwks.json"),
            JwksSettings(**settings),
            self.told.append,
            clock=self,
            fetch=self.fetch,
            sleep=self.sleep,
            jitter=lambda: 0.0,
        )


async def during(ring: KeyRing, act: Callable[[], Any]) -> None:
    # One thread, so that whoever waits for it has waited for what was written before.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=1))
    task = asyncio.create_task(ring.run())
    try:
        await act()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_keys_are_fetched_once_for_all_rules_that_name_their_place_and_again_after_the_refresh(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI, timeout="2s"), authentication("b", URI, timeout="3s"))
    world.answers[SOURCE] = FIRST
    ring = world.ring()

    async def act() -> None:
        await world.rest()
        assert world.asked == [(SOURCE, 3.0)]
        assert world.told == [{SOURCE: IssuerKeys(FIRST)}]
        world.answers[SOURCE] = SECOND
        await world.pass_(1199)
        assert len(world.asked) == 1
        await world.pass_(1)
        assert world.told[-1] == {SOURCE: IssuerKeys(SECOND)}
        await world.pass_(1200)
        assert (len(world.asked), len(world.told)) == (3, 2)  # equal keys are no news

    await during(ring, act)


async def test_an_issuer_that_is_away_spoils_no_other_and_is_asked_again_ever_more_rarely(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI, "https://away.example/"))
    world.answers[SOURCE] = FIRST
    away = KeySource("https://away.example/")
    ring = world.ring()

    async def act() -> None:
        await world.rest()
        assert world.told[-1] == {SOURCE: IssuerKeys(FIRST), away: IssuerKeys(problem="nobody there")}
        (told,) = ring.problems
        assert (told.code, told.severity, told.object, told.path) == (
            "HBK0608",
            "error",
            "RequestAuthentication/shop/a",
            "spec.jwtRules[1]",
        )
        assert "every token of the issuer is refused" in told.message
        await world.pass_(5 + 10 + 20)
        assert len([each for each in world.asked if each[0] == away]) == 4
        world.answers[away] = SECOND
        await world.pass_(40)
        assert world.told[-1][away] == IssuerKeys(SECOND)
        assert ring.problems == ()

    await during(ring, act)


async def test_the_last_good_keys_count_for_as_long_as_is_stated_and_no_longer(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI))
    world.answers[SOURCE] = FIRST
    ring = world.ring(keep=timedelta(hours=1))

    async def act() -> None:
        await world.rest()
        world.answers[SOURCE] = FetchFailed("gone")
        await world.pass_(1200)
        assert world.told[-1] == {SOURCE: IssuerKeys(FIRST, "gone")}
        assert "still count" in ring.problems[0].message
        await world.pass_(2399)
        assert world.told[-1] == {SOURCE: IssuerKeys(FIRST, "gone")}
        await world.pass_(1)
        assert world.told[-1] == {SOURCE: IssuerKeys("", "gone")}

    await during(ring, act)


async def test_a_restart_remembers_keys_that_are_not_too_old_before_it_asks_anybody(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI))
    world.answers[SOURCE] = FIRST
    await during(world.ring(), world.rest)
    again = World(tmp_path, authentication("a", URI))
    again.time += timedelta(hours=23)
    assert again.ring().known == {SOURCE: IssuerKeys(FIRST)}
    assert (tmp_path / "jwks.json").stat().st_mode & 0o777 == 0o600
    again.time += timedelta(hours=1)
    assert again.ring().known == {}


async def test_a_cache_that_is_damaged_or_holds_what_is_no_key_is_not_used(tmp_path: Path) -> None:
    bad = [{"uri": URI, "issuer": "", "jwks": '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "fetched": "2026-01-01T00:00:00+00:00"}]
    for text in ("", "{", "[1]", "[[]]", json.dumps(bad), json.dumps([{"uri": URI}])):
        (tmp_path / "jwks.json").write_text(text)
        assert World(tmp_path, authentication("a", URI)).ring().known == {}


async def test_what_no_rule_names_any_more_is_not_asked_and_not_told(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI))
    world.answers[SOURCE] = FIRST
    ring = world.ring()

    async def act() -> None:
        await world.rest()
        world.change()
        await world.pass_(5000)
        assert (len(world.asked), world.told[-1], ring.states) == (1, {}, ())

    await during(ring, act)


async def test_whoever_changes_a_rule_waits_neither_for_the_backoff_nor_for_the_refresh(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI))
    ring = world.ring()

    async def act() -> None:
        await world.pass_(600)
        for number, keys in enumerate((FIRST, SECOND)):
            world.answers[SOURCE] = keys
            world.change(authentication("a", URI, timeout=f"{number + 1}s"))
            await ring.settled()
            await world.rest()
            assert world.told[-1] == {SOURCE: IssuerKeys(keys)}

    await during(ring, act)


async def test_one_can_wait_until_every_place_was_asked_whatever_it_answered(tmp_path: Path) -> None:
    world = World(tmp_path, authentication("a", URI))
    ring = world.ring()

    async def act() -> None:
        (found,) = await ring.settled()
        assert (found.source, found.problem) == (SOURCE, "nobody there")
        assert await ring.settled() == ()
        world.answers[KeySource("https://new.example/")] = FIRST
        world.change(authentication("a", URI), authentication("b", "https://new.example/"))
        assert "https://new.example/" in [each.source.uri for each in await ring.settled()]
        assert KeySource("https://new.example/") in ring.known

    await during(ring, act)
