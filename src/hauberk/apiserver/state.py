"""What every endpoint works with."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from starlette.requests import Request

from hauberk.apiserver.parts import CertificateAuthority, Federator, Importer, Issuers, Machines, Names, Pilot, Revoker, TokenKeys
from hauberk.apiserver.rules import Rules
from hauberk.kit.clock import Clock, SystemClock
from hauberk.sources.store import Store

BOOKMARK_SECONDS = 15.0  # between two signs of life on a watch; also how far back a resume may have to reach on a quiet kind

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Parts:
    """The store, and the services of the control plane as far as they run here."""

    store: Store
    rules: Rules
    version: str
    pilot: Pilot | None = None
    issuers: Issuers | None = None
    names: Names | None = None
    ca: CertificateAuthority | None = None
    revoker: Revoker | None = None
    machines: Machines | None = None
    importer: Importer | None = None
    federator: Federator | None = None
    tokens: TokenKeys | None = None
    clock: Clock = field(default_factory=SystemClock)
    bookmark_seconds: float = BOOKMARK_SECONDS
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    def now(self) -> datetime:
        """The time as objects carry it: in whole seconds."""
        return self.clock.now().replace(microsecond=0)


def parts(request: Request) -> Parts:
    """What the endpoint works with."""
    found: Parts = request.app.state.parts
    return found


async def until(ending: asyncio.Event, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items until the server ends: a stream that is cut off in order tells its reader to come again."""
    end = asyncio.ensure_future(ending.wait())
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(items))
            await asyncio.wait((step, end), return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                item = step.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        for future in (end, step):
            if future is not None and not future.done():
                future.cancel()
