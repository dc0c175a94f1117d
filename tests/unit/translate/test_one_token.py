"""Which requests have a token that two may read differently: what the sidecar is told, and the engine, say the same."""

from __future__ import annotations

import random
import re

import pytest
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from hauberk.policy.authentication import is_ambiguous
from hauberk.policy.request import Request
from hauberk.policy.token_place import TokenPlace
from hauberk.translate.matching_predicate import Predicate
from hauberk.translate.one_token import AMBIGUOUS, places_by_route

PARAM = TokenPlace("param", "t.k")
COOKIE = TokenPlace("cookie", "t.k")
HEADER = TokenPlace("header", "x-t")
PREFIXED = TokenPlace("header", "x-t", "T (x)=")
SCHEME = TokenPlace("header", "x-t", "B-t ")


def told(place: TokenPlace) -> Predicate:
    """What Envoy is told of `place`."""
    matcher = rbac_pb2.RBACPerRoute.FromString(places_by_route([place]).value).rbac.matcher
    (rule,) = matcher.matcher_list.matchers
    return rule.predicate


def holds(predicate: Predicate, text: str) -> bool:
    """Envoy's answer if `text` is what it is asked about; for Python a byte of anything is written otherwise."""
    match predicate.WhichOneof("match_type"):
        case "or_matcher":
            return any(holds(each, text) for each in predicate.or_matcher.predicate)
        case "and_matcher":
            return all(holds(each, text) for each in predicate.and_matcher.predicate)
        case "not_matcher":
            return not holds(predicate.not_matcher, text)
        case _:
            regex = predicate.single_predicate.value_match.safe_regex.regex.replace(r"\C", r"(?s:.)")
            return re.fullmatch(regex, text, re.ASCII) is not None


def request(place: TokenPlace, text: str) -> Request:
    if place.kind == "param":
        return Request(port=80, path=text)
    return Request(port=80, path="/", headers={"cookie" if place.kind == "cookie" else place.name: (text,)})


@pytest.mark.parametrize(
    ("place", "text", "ambiguous"),
    [
        (PARAM, "/?t.k=a&t.k=b", True),
        (PARAM, "/?x&%74%2e%6B=a&y=1&t.k=b", True),
        (PARAM, "/?t.k&t.k=b", True),
        (PARAM, "/?t.k=b&t.k", True),
        (PARAM, "/?t.k=a&txk=b&t.kk=c&at.k=d", False),
        (PARAM, "/t.k=a&t.k=b", False),
        (PARAM, "/t.k=a&t.k=b?t.k=c", False),
        (PARAM, "/?x=1;t.k=a", True),
        (PARAM, "/?x=1;t.k=a&t.k=b", True),
        (PARAM, "/?t.k=a;t.k=b", True),
        (PARAM, "/?t.k;x=1", True),
        (PARAM, "/?t.k=a;x=1", False),
        (PARAM, "/?x=1;t.kk=a", False),
        (COOKIE, "t.k=a; t.k=b", True),
        (COOKIE, "t.k=a; t.k =b", True),
        (COOKIE, "t.k =b;t.k=a", True),
        (COOKIE, "t.k =a", True),
        (COOKIE, "x=1;\tt.k=a", True),
        (COOKIE, "\tt.k=a", True),
        (COOKIE, "x=1;   t.k=a", False),
        (COOKIE, "x=1, t.k=a", False),
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
        (PREFIXED, "t (X)=a", False),
        (SCHEME, "B-t a", False),
        (SCHEME, " \tB-t a", False),
        (SCHEME, "b-T a", True),
        (SCHEME, "B-t\ta", True),
        (SCHEME, "B-t\xa0a", True),
        (SCHEME, "b-t a B-t a", True),
        (SCHEME, "x, b-t a", True),
        (SCHEME, "x b-t a", False),
        (SCHEME, "b-ts a", False),
        (SCHEME, "b-t", False),
    ],
)
def test_what_two_may_read_differently_is_seen_by_both(place: TokenPlace, text: str, ambiguous: bool) -> None:
    assert (holds(told(place), text), is_ambiguous(request(place, text), [place])) == (ambiguous, ambiguous)


@pytest.mark.parametrize("place", [PARAM, COOKIE, HEADER, PREFIXED, SCHEME], ids=str)
def test_engine_and_pattern_agree_on_whatever_comes(place: TokenPlace) -> None:
    chance, predicate = random.Random(5), told(place)
    words = {
        "param": ("t.k", "%74.k", "t%2Ek", "txk", "=", "&", ";", "?", "a", "%", "%2", "&&", "/"),
        "cookie": ("t.k", "t.k=", "txk", "=", ";", "; ", ",", "a", " ", "\t"),
        "header": ("T (x)=", "T", "a", ",", " ", "\xff", "B-t", "b-t", "B-t ", "\t"),
    }[place.kind]
    for _ in range(3000):
        text = ("/" if place.kind == "param" else "") + "".join(chance.choices(words, k=chance.randrange(12)))
        assert holds(predicate, text) == is_ambiguous(request(place, text), [place]), text


def test_what_is_refused_has_a_name_of_its_own() -> None:
    assert AMBIGUOUS.encode() in places_by_route([PARAM, COOKIE]).value
