"""Where in a request a token may stand (S-J3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hauberk.api.jwt_rule import JwtRule

_KINDS: Final = ("header", "param", "cookie")
_SCHEME: Final = re.compile(r"([\w-]*\w) *", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """One place; places are ordered by importance: `authorization`, other headers, parameters of the query, cookies."""

    kind: Literal["header", "param", "cookie"]
    name: str  # of a header in lower case
    prefix: str = ""  # of a header

    def __lt__(self, other: TokenPlace) -> bool:
        return self._rank() < other._rank()

    def __str__(self) -> str:
        return f"{self.kind}[{self.name}]{f'[{self.prefix}]' if self.prefix else ''}"

    @property
    def told(self) -> str:
        """As people are told of it."""
        return f"{'parameter' if self.kind == 'param' else self.kind} `{self.name}`"

    @property
    def scheme(self) -> str:
        """What the prefix names as `Bearer ` does; programs compare it without case (RFC 9110, 11.1), the sidecar does not."""
        found = _SCHEME.fullmatch(self.prefix)
        return found[1] if found else ""

    def _rank(self) -> tuple[int, bool, str, str]:
        return _KINDS.index(self.kind), self.name != "authorization", self.name, self.prefix


_USUAL: Final = (TokenPlace("header", "authorization", "Bearer "), TokenPlace("param", "access_token"))


def places_of(rule: JwtRule) -> tuple[TokenPlace, ...]:
    """Where tokens of `rule` are looked for, each place once; the usual places only if it names none."""
    return tuple(dict.fromkeys(_named(rule))) if rule.has_locations else _USUAL


def prefixes_beside(place: TokenPlace, places: Sequence[TokenPlace]) -> tuple[str, ...]:
    """Every prefix behind which a token of `place`'s header is looked for, with its own."""
    return tuple(each.prefix for each in places if (each.kind, each.name) == (place.kind, place.name))


def _named(rule: JwtRule) -> Iterator[TokenPlace]:
    yield from (TokenPlace("header", each.name.lower(), each.prefix) for each in rule.from_headers)
    yield from (TokenPlace("param", name) for name in rule.from_params)
    yield from (TokenPlace("cookie", name) for name in rule.from_cookies)
