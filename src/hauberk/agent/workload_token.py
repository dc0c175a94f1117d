"""Tokens that were issued and may be given again: who asks for one before each of his requests should not cost a signature each."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

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
    """Of one machine. A token is given again during the first half of its life, and never once anything else is trusted than then."""

    def __init__(self, authority: Authority, trust: Watched[Trust], clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._known: OrderedDict[_Key, _Token] = OrderedDict()
        # Also whoever was revoked meanwhile, and whose entry was changed.
        trust.subscribe(lambda _: self._known.clear())

    async def token(self, subject: Subject, audience: tuple[str, ...]) -> str:
        """A token for `audience`, of which at least half the life is left; raises NotIssued."""
        asked = self._clock.now()
        known = self._known.get((subject, audience))
        if known is not None and asked < known.fresh_until:
            return known.token
        reply = await self._authority.issue_token(subject, audience)
        self._known[subject, audience] = _Token(reply.token, asked + (reply.expires - asked) / 2)
        self._known.move_to_end((subject, audience))
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return reply.token
