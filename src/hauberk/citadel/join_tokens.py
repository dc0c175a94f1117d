"""Join tokens: how a machine that nobody knows yet proves that its operator was told by this mesh's operator to add it.

A token is `ID.SECRET`. It is good once, for one node name, for minutes; of the secret only a SHA-256 is kept, which suffices because
it is 256 random bits and no word that could be guessed.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Self

from hauberk.citadel.state import State, Write
from hauberk.citadel.state_join_tokens import JoinTokenRow, forget_join_tokens, read_join_tokens, write_join_tokens

DEFAULT_LIFE: Final = timedelta(minutes=10)
LONGEST_LIFE: Final = timedelta(hours=24)
MOST_MISSES: Final = 5  # wrong secrets until a token is good for nothing: nobody mistypes a file
KEPT_AFTER_EXPIRY: Final = timedelta(hours=24)  # so that who uses it again is told that, and not that there is none
_NOBODY: Final = hashlib.sha256(b"").digest()

Use = Callable[[Write], Awaitable[None]]


class JoinRefused(PermissionError):
    """The token lets nobody in; the message says why, and only to who has shown its secret more than that it is not valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token as its maker sees it, once. The text is in no repr."""

    text: str = field(repr=False)
    id: str
    node: str
    expires: datetime


class JoinTokens:
    """The tokens in memory; each change is on disk before it counts. One event loop uses it."""

    def __init__(self, state: State, rows: dict[str, JoinTokenRow]) -> None:
        self._state = state
        self._rows = rows
        self._changing = asyncio.Lock()

    @classmethod
    def open(cls, state: State) -> Self:
        """The tokens that `state` holds."""
        return cls(state, {row.id: row for row in read_join_tokens(state)})

    def outstanding(self, now: datetime) -> tuple[JoinTokenRow, ...]:
        """Tokens that would still let a machine in, the oldest first."""
        return tuple(row for row in self._rows.values() if _spent(row, now) is None)

    async def create(self, node: str, now: datetime, life: timedelta = DEFAULT_LIFE) -> NewToken:
        """A new token for `node`; those made for it before are good for nothing any more. ValueError for a life that is none."""
        if not timedelta(seconds=1) <= life <= LONGEST_LIFE:
            raise ValueError(f"a join token lives between a second and {LONGEST_LIFE // timedelta(hours=1)} hours")
        async with self._changing:
            identifier, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
            row = JoinTokenRow(id=identifier, node=node, digest=_digest(secret), created=now, expires=now + life)
            gone = [each.id for each in self._rows.values() if _forgettable(each, now) or (each.node == node and each.used is None)]
            await self._state.write(forget_join_tokens(gone), write_join_tokens((row,)))
            for each in gone:
                del self._rows[each]
            self._rows[identifier] = row
            return NewToken(text=f"{identifier}.{secret}", id=identifier, node=node, expires=row.expires)

    async def consume(self, text: str, node: str, now: datetime, use: Use | None = None) -> JoinTokenRow:
        """The token, which from now on is good for nothing more; raises JoinRefused, and then it stays as good as it was.

        `use` is what it is good for: it puts the given write on disk with its own. While it runs the token is taken; if it fails the
        token is as good as it was.
        """
        async with self._changing:
            row = await self._proven(text)
            if (reason := _spent(row, now)) is not None:
                raise JoinRefused(reason)
            if row.node != node:
                raise JoinRefused(f"the join token was made for another node than {node!r}")
            used = replace(row, used=now)
            await self._keep(used, use or self._state.write)
            return used

    def is_good(self, text: str, now: datetime) -> bool:
        """Whether `text` shows the secret of a token that still lets a machine in."""
        row, right = self._find(text)
        return row is not None and right and _spent(row, now) is None

    def _find(self, text: str) -> tuple[JoinTokenRow | None, bool]:
        identifier, _, secret = text.partition(".")
        row = self._rows.get(identifier)
        # Compared in any case and in constant time: how long the answer takes tells nothing.
        right = hmac.compare_digest(_digest(secret), row.digest if row is not None else _NOBODY)
        return row, right and row is not None

    async def _proven(self, text: str) -> JoinTokenRow:
        """The token whose secret `text` shows."""
        row, right = self._find(text)
        if row is not None and right and row.misses < MOST_MISSES:
            return row
        if row is not None and row.misses < MOST_MISSES:
            await self._keep(replace(row, misses=row.misses + 1), self._state.write)
        raise JoinRefused("the join token is not valid")

    async def _keep(self, row: JoinTokenRow, write: Use) -> None:
        before = self._rows[row.id]
        # First in memory: whoever hangs up while it is written has used it nevertheless.
        self._rows[row.id] = row
        try:
            await write(write_join_tokens((row,)))
        except Exception:
            self._rows[row.id] = before
            raise


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _spent(row: JoinTokenRow, now: datetime) -> str | None:
    """Why the token is good for nothing."""
    if row.misses >= MOST_MISSES:
        return "the join token is not valid"
    if row.used is not None:
        return f"the join token was used already, at {row.used:%Y-%m-%d %H:%M:%S} UTC"
    if now >= row.expires:
        return f"the join token expired at {row.expires:%Y-%m-%d %H:%M:%S} UTC"
    if now < row.created - timedelta(minutes=5):
        return "the join token is not valid yet: the control plane's clock was set back"
    return None


def _forgettable(row: JoinTokenRow, now: datetime) -> bool:
    return now > row.expires + KEPT_AFTER_EXPIRY
