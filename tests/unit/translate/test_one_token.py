"""Which requests have two tokens in one place: the patterns that the sidecar is told, and the engine, say the same."""

from __future__ import annotations

import random
import re

import pytest
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from hauberk.policy.authentication import is_twice
from hauberk.policy.request import Request
from hauberk.policy.token_place import TokenPlace
from hauberk.translate.one_token import TWO_TOKENS, places_by_route

PARAM = TokenPlace("param", "t.k")
COOKIE = TokenPlace("cookie", "t.k")
HEADER = TokenPlace("header", "x-t")
PREFIXED = TokenPlace("header", "x-t", "T (x)=")


def pattern(place: TokenPlace) -> re.Pattern[str]:
    """What Envoy is told of `place`, for Python: there a byte of anything is written otherwise."""
    told = rbac_pb2.RBACPerRoute.FromString(places_by_route([place]).value).rbac.matcher
    (rule,) = told.matcher_list.matchers
    return re.compile(rule.predicate.single_predicate.value_match.safe_regex.regex.replace(r"\C", r"(?s:.)"))


def request(place: TokenPlace, text: str) -> Request:
    if place.kind == "param":
        return Request(port=80, path=text)
    return Request(port=80, path="/", headers={"cookie" if place.kind == "cookie" else place.name: (text,)})


@pytest.mark.parametrize(
    ("place", "text", "twice"),
    [
        (PARAM, "/?t.k=a&t.k=b", True),
        (PARAM, "/?x&%74%2e%6B=a&y=1&t.k=b", True),
        (PARAM, "/?t.k&t.k=b", True),
        (PARAM, "/?t.k=b&t.k", True),
        (PARAM, "/?t.k=a&txk=b&t.kk=c&at.k=d", False),
        (PARAM, "/t.k=a&t.k=b", False),
        (PARAM, "/t.k=a&t.k=b?t.k=c", False),
        (COOKIE, "t.k=a; t.k=b", True),
        (COOKIE, "x=1;t.k=a;y=2;t.k=b", True),
        (COOKIE, "t.k=a; txk=b; at.k=c; t.kk=d", False),
        (COOKIE, "x=t.k=a; t.k=b", False),
        (COOKIE, "t.k=a, t.k=b", True),
        (COOKIE, "t.k; t.k=b", False),
        (HEADER, "a,b", True),
        (HEADER, "a", False),
        (PREFIXED, "T (x)=a,b", True),
        (PREFIXED, "b, T (x)=a", True),
        (PREFIXED, "a, b", False),
        (PREFIXED, "T (x)=a", False),
    ],
)
def test_two_tokens_in_one_place_are_seen_by_both(place: TokenPlace, text: str, twice: bool) -> None:
    assert (bool(pattern(place).fullmatch(text)), is_twice(request(place, text), place)) == (twice, twice)


@pytest.mark.parametrize("place", [PARAM, COOKIE, HEADER, PREFIXED], ids=str)
def test_engine_and_pattern_agree_on_whatever_comes(place: TokenPlace) -> None:
    chance, told = random.Random(5), pattern(place)
    words = {
        "param": ("t.k", "%74.k", "t%2Ek", "txk", "=", "&", "?", "a", "%", "%2", "&&", "/"),
        "cookie": ("t.k", "txk", "=", ";", "; ", ",", "a", " "),
        "header": ("T (x)=", "T", "a", ",", " ", "\xff"),
    }[place.kind]
    for _ in range(3000):
        text = ("/" if place.kind == "param" else "") + "".join(chance.choices(words, k=chance.randrange(12)))
        assert bool(told.fullmatch(text)) == is_twice(request(place, text), place), text


def test_what_is_refused_has_a_name_of_its_own() -> None:
    assert TWO_TOKENS.encode() in places_by_route([PARAM, COOKIE]).value
