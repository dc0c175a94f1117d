"""The keys of all issuers whose tokens the mesh verifies: fetched, fetched anew, kept while they cannot be had, and told.

An issuer that does not answer spoils no other. Its last good keys count for a stated time; after it, and where there never were any,
every token of the issuer is refused.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.problem import Problem, problem
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger
from hauberk.kit.web_fetch import FetchFailed
from hauberk.mesh.issuer_keys import NO_KEYS, IssuerKeys, KeySource, KnownKeys, key_source
from hauberk.mesh.jwks import UsableKeys
from hauberk.sources.change import Event
from hauberk.sources.jwks_cache import JwksCache, KeptKeys
from hauberk.sources.jwks_fetch import fetch_keys
from hauberk.sources.jwks_settings import JwksSettings

Typed = TypeVar("Typed", bound=ApiObject)
Fetch = Callable[[KeySource, float, JwksSettings], Awaitable[UsableKeys]]

_AT_ONCE: Final = 64  # providers that are asked at the same time
# Who was there a moment ago is asked again soon; who is not, is not pestered.
_BACKOFF: Final = Backoff(first=5.0, limit=600.0)

_log = logger("jwks")


class Objects(Protocol):
    """The part of the store that is read here."""

    def of(self, model: type[Typed]) -> tuple[Typed, ...]: ...

    def subscribe(self, kinds: Collection[str] | None = None, since: int | None = None) -> AsyncIterator[tuple[Event, ...]]: ...


@dataclass(frozen=True, slots=True)
class Use:
    """Who wants the keys of a source, and how long he is ready to wait for them."""

    object: ObjectKey
    path: str
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What is known of one source. `jwks` empty: no keys; `fetched`: when those were had; `tried`: it was asked since the start."""

    source: KeySource
    uses: tuple[Use, ...] = ()
    jwks: str = ""
    fetched: datetime | None = None
    left_out: tuple[str, ...] = ()
    problem: str = ""
    failures: int = 0
    tried: bool = False

    @property
    def timeout(self) -> float:
        """Seconds that the most patient rule waits."""
        return max((use.timeout.total_seconds() for use in self.uses), default=5.0)


class KeyRing:
    """`tell` is called with all keys whenever any has changed; `run` serves until cancelled."""

    def __init__(
        self,
        objects: Objects,
        cache: JwksCache,
        settings: JwksSettings,
        tell: Callable[[KnownKeys], None],
        *,
        clock: Clock | None = None,
        fetch: Fetch = fetch_keys,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, protects nothing
    ) -> None:
        self._objects = objects
        self._cache = cache
        self._settings = settings
        self._tell = tell
        self._clock = clock or SystemClock()
        self._fetch = fetch
        self._sleep = sleep
        self._jitter = jitter
        self._kept: Mapping[KeySource, KeptKeys] = cache.read()
        self._states: dict[KeySource, KeyState] = {}
        self._known: KnownKeys = NO_KEYS
        self._waiting: set[asyncio.Event] = set()
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._adopt()

    @property
    def known(self) -> KnownKeys:
        """The keys as the mesh is to use them now; the very same mapping until one of them changes."""
        return self._known

    @property
    def states(self) -> tuple[KeyState, ...]:
        """Every source that a rule names, by name."""
        return tuple(self._states[source] for source in sorted(self._states))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Sources whose keys cannot be had, or no newer ones."""
        return tuple(each for state in self.states for each in problems_of(state))

    async def settled(self) -> tuple[KeyState, ...]:
        """Returns when every source that rules name now was asked once; those that had to be waited for."""
        wanted = self._wanted()
        news = [source for source in wanted if not self._is_tried(source)]
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            while any(not self._is_tried(source) and source in self._wanted() for source in news):
                changed.clear()
                await changed.wait()
        finally:
            self._waiting.discard(changed)
        return tuple(self._states[source] for source in news if source in self._states)

    async def run(self) -> None:
        """Every source is asked, and asked again, for as long as a rule names it."""
        running: dict[KeySource, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            async for events in self._objects.subscribe({RequestAuthentication.__name__}):
                self._adopt()
                # Whoever changes a rule is not left to the refresh or the backoff: he may have mended what was wrong.
                again = self._try_again({event.object.key for event in events})
                for source in running.keys() - (self._states.keys() - again):
                    running.pop(source).cancel()
                for source in self._states.keys() - running.keys():
                    running[source] = tasks.create_task(self._poll(source), name=f"jwks:{source}")

    def _try_again(self, changed: Collection[ObjectKey]) -> frozenset[KeySource]:
        named = [state for state in self._states.values() if any(use.object in changed for use in state.uses)]
        for state in named:
            self._states[state.source] = replace(state, tried=False)
        return frozenset(state.source for state in named)

    def _wanted(self) -> dict[KeySource, tuple[Use, ...]]:
        found: dict[KeySource, list[Use]] = {}
        for source, use in uses_of(self._objects.of(RequestAuthentication)):
            found.setdefault(source, []).append(use)
        return {source: tuple(uses) for source, uses in found.items()}

    def _is_tried(self, source: KeySource) -> bool:
        state = self._states.get(source)
        return state is not None and state.tried

    def _adopt(self) -> None:
        """The sources are those that rules name now; of a new one is known what was kept of it."""
        wanted = self._wanted()
        self._states = {source: replace(self._states.get(source) or self._remembered(source), uses=uses) for source, uses in wanted.items()}
        self._publish()

    def _remembered(self, source: KeySource) -> KeyState:
        kept = self._kept.get(source)
        if kept is None or self._clock.now() >= kept.fetched + self._settings.keep:
            return KeyState(source=source)
        return KeyState(source=source, jwks=kept.jwks, fetched=kept.fetched)

    # --- one source

    async def _poll(self, source: KeySource) -> None:
        while (before := self._states.get(source)) is not None:
            found = await self._ask(before)
            now = self._states.get(source)
            if now is None:
                return
            await self._take(replace(found, uses=now.uses), before)
            await self._rest(source)

    async def _ask(self, state: KeyState) -> KeyState:
        try:
            async with self._asking:
                keys = await self._fetch(state.source, state.timeout, self._settings)
        except FetchFailed as exc:
            return replace(state, problem=str(exc), failures=state.failures + 1, tried=True)
        return KeyState(source=state.source, jwks=keys.text, fetched=self._clock.now(), left_out=keys.left_out, tried=True)

    async def _take(self, state: KeyState, before: KeyState) -> None:
        self._states[state.source] = self._expired(state)
        if state.problem and state.problem != before.problem:
            _log.warning("the keys of an issuer cannot be had", source=str(state.source), reason=state.problem)
        self._publish()
        if state.fetched != before.fetched:
            await self._keep()

    async def _rest(self, source: KeySource) -> None:
        """Until the source is to be asked again; keys that become too old meanwhile are not believed any more."""
        state = self._states.get(source)
        if state is None:
            return
        left = _BACKOFF.delay(state.failures, self._jitter()) if state.problem else self._settings.refresh.total_seconds()
        if state.jwks and state.fetched is not None and state.problem:
            until = (state.fetched + self._settings.keep - self._clock.now()).total_seconds()
            if until < left:
                await self._sleep(max(0.0, until))
                self._expire(source)
                left -= max(0.0, until)
        await self._sleep(left)

    def _expire(self, source: KeySource) -> None:
        if source in self._states:
            self._states[source] = self._expired(self._states[source])
            self._publish()

    def _expired(self, state: KeyState) -> KeyState:
        if state.fetched is None or self._clock.now() < state.fetched + self._settings.keep:
            return state
        return replace(state, jwks="", fetched=None)

    async def _keep(self) -> None:
        kept = {s.source: KeptKeys(s.source, s.jwks, s.fetched) for s in self._states.values() if s.jwks and s.fetched is not None}
        self._kept = kept
        await asyncio.to_thread(self._cache.write, tuple(kept.values()))

    def _publish(self) -> None:
        known = {source: IssuerKeys(state.jwks, state.problem) for source, state in sorted(self._states.items()) if _says(state)}
        if known != self._known:
            self._known = known
            self._tell(known)
        for each in self._waiting:
            each.set()


def _says(state: KeyState) -> bool:
    return bool(state.jwks or state.problem)


def uses_of(authentications: Collection[RequestAuthentication]) -> Iterator[tuple[KeySource, Use]]:
    """Every rule whose keys are to be fetched."""
    for each in authentications:
        for index, rule in enumerate(() if each.spec.targets else each.spec.jwt_rules):
            source = key_source(rule)
            if source is not None:
                yield source, Use(each.key, f"spec.jwtRules[{index}]", rule.timeout)


def problems_of(state: KeyState) -> Iterator[Problem]:
    """What the owners of rules have to know of a source: one problem for each rule."""
    if not state.problem:
        return
    then = (
        f"the last ones, of {state.fetched.isoformat(timespec='seconds')}, still count"
        if state.fetched is not None and state.jwks
        else "every token of the issuer is refused"
    )
    message = f"the keys at {state.source} cannot be had: {state.problem}; {then}"
    for use in state.uses:
        yield problem("HBK0608", message, severity="warning" if state.jwks else "error", object=str(use.object), path=use.path)
