"""The tokens of a request: found, verified, and what follows for the request (S-J1 to S-J3).

Every token in a place that some rule names is verified, each place by itself: one bad token refuses the request whatever else it
carries. Of several good ones that in the more important place says who the caller is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from hauberk.policy.jwt import Issuer, TokenOutcome, verify_token
from hauberk.policy.request import Request
from hauberk.policy.token_place import TokenPlace, places_of, prefixes_beside

LARGEST_HEADERS: Final = 60 * 1024  # bytes; a request with more is refused by itself
AMBIGUOUS: Final = "RBAC: access denied"  # the sidecar's word where it looks at no token at all
_OF_TOKENS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_BLANKS: Final = " \t"


@dataclass(frozen=True, slots=True)
class Authentication:
    """What becomes of the request: `status` 200 with the `claims` of its token (None without one), or the refusal and its reason."""

    status: int
    reason: str = ""
    claims: Mapping[str, Any] | None = None
    place: TokenPlace | None = None

    @property
    def passes(self) -> bool:
        return self.status == 200


def authenticate(request: Request, issuers: Sequence[Issuer], now: datetime) -> Authentication:
    """What the sidecar makes of the tokens in `request` if it knows `issuers`."""
    if _size(request) > LARGEST_HEADERS:
        return Authentication(431, "the headers are too large")
    places = sorted({place for issuer in issuers for place in places_of(issuer.rule)}, reverse=True)
    if is_ambiguous(request, places):
        return Authentication(403, AMBIGUOUS)
    found = Authentication(200)
    # The least important place first: what a later one says of the caller takes the place of what others said.
    for place in places:
        token = token_at(request, place)
        if token is None:
            continue
        outcome = _best(verify_token(token, issuer, now) for issuer in issuers if place in places_of(issuer.rule))
        if not outcome.accepted:
            return Authentication(outcome.status, outcome.reason, place=place)
        found = Authentication(200, claims=outcome.claims, place=place)
    return found


def with_token(request: Request, token: str, issuers: Sequence[Issuer]) -> Request:
    """`request` with `token` in the most important place where somebody looks for one."""
    places = sorted({place for issuer in issuers for place in places_of(issuer.rule)})
    place = places[0] if places else TokenPlace("header", "authorization", "Bearer ")
    match place.kind:
        case "header":
            return _with_header(request, place.name, place.prefix + token)
        case "cookie":
            return _with_header(request, "cookie", f"{place.name}={token}")
        case "param":
            return replace(request, path=f"{request.path}{'&' if '?' in request.path else '?'}{place.name}={token}")


def is_ambiguous(request: Request, places: Sequence[TokenPlace]) -> bool:
    """In one of `places` may stand two tokens, or one that the sidecar does not see: the program may read another than it verifies."""
    return any(_is_ambiguous(request, place, places) for place in places)


def _is_ambiguous(request: Request, place: TokenPlace, places: Sequence[TokenPlace]) -> bool:
    match place.kind:
        case "header":
            value = ",".join(request.headers.get(place.name, ()))
            return (place.prefix in value and "," in value) or _is_in_another_spelling(value, place, places)
        case "param":
            query = request.path.partition("?")[2]
            return _two_or_hidden(place.name, *([unquote(_name(pair)) for pair in re.split(by, query)] for by in ("[&;]", "&")))
        case "cookie":
            # Several headers are looked at as one, with commas between them.
            names = [_name(pair) for pair in re.split("[;,]", ",".join(request.headers.get("cookie", ()))) if "=" in pair]
            return _two_or_hidden(place.name, [name.strip(_BLANKS) for name in names], [name.lstrip(" ") for name in names])


def _two_or_hidden(name: str, read: Sequence[str], seen: Sequence[str]) -> bool:
    """Programs, which may read the names `read`, find `name` twice, or where the sidecar, which sees the names `seen`, does not."""
    return read.count(name) > 1 or (name in read and name not in seen)


def _is_in_another_spelling(value: str, place: TokenPlace, places: Sequence[TokenPlace]) -> bool:
    """The scheme stands there in other letters, or with something else behind it than a prefix has."""
    if not place.scheme or value.lstrip(_BLANKS).startswith(prefixes_beside(place, places)):
        return False
    return re.search(rf"(?:^|,)[ \t]*{re.escape(place.scheme)}\b.", value, re.IGNORECASE | re.ASCII | re.DOTALL) is not None


def token_at(request: Request, place: TokenPlace) -> str | None:
    """The token that stands there; None if nothing does."""
    values = request.headers.get(place.name, ())
    match place.kind:
        case "header":
            return _after(",".join(values), place.prefix) if values else None
        case "param":
            return next((value for name, value in _parameters(request.path) if name == place.name), None) or None
        case "cookie":
            return next((value for name, value in _cookies(request.headers) if name == place.name), None) or None


def _best(outcomes: Iterable[TokenOutcome]) -> TokenOutcome:
    """The first that accepts; else the last fault of an issuer who knows the token, which says more than that others do not."""
    refused: list[TokenOutcome] = []
    for outcome in outcomes:
        if outcome.accepted:
            return outcome
        refused.append(outcome)
    return next((each for each in reversed(refused) if not each.of_another), refused[-1])


def _after(value: str, prefix: str) -> str | None:
    """What follows the prefix, from where a token can begin; without a prefix all of the value."""
    if not prefix:
        return value
    start = value.find(prefix)
    if start < 0:
        return None
    rest = value[start + len(prefix) :]
    return rest[next((index for index, character in enumerate(rest) if character in _OF_TOKENS), 0) :]


def _parameters(path: str) -> Iterator[tuple[str, str]]:
    for pair in path.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        yield unquote(name), unquote(value)


def _cookies(headers: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for line in headers.get("cookie", ()):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            yield name, value.strip('"')


def _name(pair: str) -> str:
    return pair.partition("=")[0]


def _size(request: Request) -> int:
    return len(request.path) + sum(len(name) + len(value) for name, values in request.headers.items() for value in values)


def _with_header(request: Request, name: str, value: str) -> Request:
    return replace(request, headers={**request.headers, name: (*request.headers.get(name, ()), value)})
