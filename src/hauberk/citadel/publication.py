"""The Trust as it is now, and who is told when it changes."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hauberk.citadel.state import State, StateUnusable, Write
from hauberk.citadel.state_issued import count_holders
from hauberk.citadel.state_progress import read_sequence, write_sequence
from hauberk.identity.rotation import LONGEST_WINDOW, renewal_window
from hauberk.identity.trust import Trust
from hauberk.identity.wire import milliseconds
from hauberk.kit.log import logger

_log = logger("citadel")

# A clock may have been so wrong when the authority told its agents something. What is further ahead no honest agent was told, and one
# that lies must not use up the numbers there are.
PLAUSIBLE: Final = timedelta(days=3650)


class Publication:
    """The current `Trust`. Who owns a part of it changes that part with `publish`.

    Its sequence is the milliseconds since 1970 or one more than the last, whichever is greater, and is taken anew whenever the authority
    is opened: a database that was restored from an old backup does not know what was published since, but the clock does.
    """

    def __init__(self, state: State, trust_domain: str, now: Callable[[], datetime]) -> None:
        self._state = state
        self._now = now
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._floor = 0
        self._wire: tuple[Trust, bytes] | None = None
        self.trust = Trust(sequence=0, trust_domain=trust_domain, renewal_window=_window(count_holders(state, now())))
        self.trust = replace(self.trust, sequence=self._next(read_sequence(state)))
        try:
            state.commit(write_sequence(self.trust.sequence))
        except StateUnusable as exc:
            # A full disk: what is trusted can be told all the same, and the clock sees to it that the next sequence is greater.
            _log.warning("the sequence of the trust could not be written", reason=str(exc))

    async def publish(self, change: Callable[[Trust], Trust], *writes: Write) -> Trust:
        """What `change` makes of the current Trust is on its way to everybody, after it and `writes` are on disk.

        If nothing but the sequence would change, only `writes` are made.
        """
        return await self.publish_with(lambda trust: (change(trust), writes))

    async def publish_with(self, change: Callable[[Trust], tuple[Trust, tuple[Write, ...]]]) -> Trust:
        """As `publish`, where what is written depends on the new Trust: `change` is given the current one with the next sequence."""
        async with self._writing:
            before = self.trust
            following = replace(before, sequence=self._next(before.sequence))
            after, writes = change(following)
            if after == following:
                after = before
            else:
                writes = (*writes, write_sequence(after.sequence))
            if writes:
                await self._state.write(*writes)
            if after is not before:
                self._tell(after)
        return after

    def preset(self, change: Callable[[Trust], Trust]) -> None:
        """Before anybody is told anything: a part as it was read from the database."""
        self.trust = replace(change(self.trust), sequence=self.trust.sequence)

    async def spread(self, holders: int) -> None:
        """So many hold certificates: what all of them ask for at once they spread over as long as answering takes."""
        wanted, told = _window(holders), self.trust.renewal_window
        # Told anew only where it makes a difference: each Trust goes to every machine, and is acknowledged by every Envoy.
        if wanted > told or wanted * 4 <= told:
            await self.publish(lambda trust: replace(trust, renewal_window=wanted))

    def wire(self, trust: Trust) -> bytes:
        """`trust` as it travels, encoded once for all who are told."""
        if self._wire is None or self._wire[0] is not trust:
            self._wire = (trust, trust.to_wire())
        return self._wire[1]

    async def outrun(self, *sequences: int) -> None:
        """Agents have been told `sequences` by an authority that remembered more: from now on they are exceeded, if they can be true."""
        limit = milliseconds(self._now() + PLAUSIBLE)
        furthest = max((each for each in sequences if each <= limit), default=0)
        if self.trust.sequence < furthest:
            async with self._writing:
                self._floor = max(self._floor, furthest)
                after = replace(self.trust, sequence=self._next(self.trust.sequence))
                await self._state.write(write_sequence(after.sequence))
                self._tell(after)

    async def changes(self) -> AsyncIterator[Trust]:
        """The current Trust, and each later one; who is slow gets the newest and not those between."""
        told = None
        while True:
            changed = self._changed
            if self.trust is not told:
                told = self.trust
                yield told
            else:
                await changed.wait()

    def _tell(self, trust: Trust) -> None:
        self.trust = trust
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    def _next(self, last: int) -> int:
        return max(last + 1, self._floor + 1, milliseconds(self._now()))


def _window(holders: int) -> timedelta:
    """A power of two in seconds: it stays the same while a few come and go."""
    seconds = math.ceil(renewal_window(holders).total_seconds())
    return min(timedelta(seconds=1 << (seconds - 1).bit_length()), LONGEST_WINDOW)
