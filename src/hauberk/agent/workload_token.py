"""Tokens that were issued and may be given again: who asks for one before each of his requests should not cost a signature each."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

from hauberk.agent.workload_identity import Authority
from hauberk.identity.trust import Trust
from hauberk.identity.wire import Subject
from hauberk.kit.clock import Clock
from hauberk.kit.watched import Watched

_MOST: Final = 4096

_Key = tuple[Subject, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Token:
    token: str = field(repr=False)
    fresh_until: datetime


class Tokens:
    """Of one machine. A token is given again during the first half of its life, and never once anything else is trusted than then.

    The requests of one subject are made one after the other: so equal ones are one, and however many a pod's programs make, the next
    pod's is not behind them.
    """

    def __init__(self, authority: Authority, trust: Watched[Trust], clock: Clock) -> None:
        self._authority = authority
        self._trust = trust
        self._clock = clock
        self._known: OrderedDict[_Key, _Token] = OrderedDict()
        self._turns: WeakValueDictionary[Subject, asyncio.Lock] = WeakValueDictionary()
        # Also whoever was revoked meanwhile, and whose entry was changed.
        trust.subscribe(lambda _: self._known.clear())

    async def token(self, subject: Subject, audience: tuple[str, ...]) -> str:
        """A token for `audience`, of which at least half the life is left; raises NotIssued."""
        async with self._turns.setdefault(subject, asyncio.Lock()):
            asked, trust = self._clock.now(), self._trust.value
            known = self._known.get((subject, audience))
            if known is not None and asked < known.fresh_until:
                return known.token
            reply = await self._authority.issue_token(subject, audience)
            if self._trust.value is trust:
                self._remember((subject, audience), _Token(reply.token, asked + (reply.expires - asked) / 2))
        return reply.token

    def _remember(self, key: _Key, token: _Token) -> None:
        self._known[key] = token
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
