"""Requests whose token Envoy and the program may read differently, refused before any token is verified.

Of a parameter or cookie that comes twice Envoy verifies the first, and the program may read the last; of a header that comes twice both
are verified, and what they say is written into one header twice. What is spelled otherwise than Envoy compares it, as `bearer`, or a
cookie's name with a blank behind it, Envoy does not see, and the program may. Either way the one who was authorized is not the one who is
served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import any_pb2

from hauberk.envoy.message import any_
from hauberk.mesh.request_authentication import TokenRule
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.token_place import TokenPlace, places_of, prefixes_beside
from hauberk.policy.verdict import NO_ALLOW_POLICY
from hauberk.translate.matching import whole
from hauberk.translate.matching_clause import Outcome
from hauberk.translate.matching_predicate import Predicate, all_of, any_of, not_, text_is
from hauberk.translate.matching_text import expression
from hauberk.translate.matching_tree import FieldMatcher, Matcher, OnMatch, decided

FILTER: Final = "hauberk.tokens"
AMBIGUOUS: Final = "hauberk-ambiguous-token"
_PATH: Final = Attribute(Kind.PATH)
_COOKIE: Final = Attribute(Kind.HEADER, ("cookie",))


def http_filter() -> hcm_pb2.HttpFilter:
    """Refuses where the route says which places hold tokens; to stand before tokens are verified and taken away."""
    return hcm_pb2.HttpFilter(name=FILTER, typed_config=any_(http_pb2.RBAC()), disabled=True)


def places_by_route(places: Sequence[TokenPlace]) -> any_pb2.Any:
    """What a route configuration holds under the name of the filter."""
    refused = FieldMatcher(predicate=any_of([_ambiguous(place, places) for place in places]), on_match=decided(Outcome(AMBIGUOUS, False)))
    # Whoever sends one token is not allowed by that: it is as if nobody had been asked yet.
    otherwise = decided(Outcome(NO_ALLOW_POLICY, True))
    matcher = whole(OnMatch(matcher=Matcher(matcher_list=Matcher.MatcherList(matchers=[refused]), on_no_match=otherwise)))
    return any_(http_pb2.RBACPerRoute(rbac=http_pb2.RBAC(matcher=matcher)))


def token_places(tokens: Iterable[TokenRule]) -> tuple[TokenPlace, ...]:
    """Every place in which one of `tokens` is looked for, the most important first."""
    return tuple(sorted({place for each in tokens for place in places_of(each.rule)}))


def _ambiguous(place: TokenPlace, places: Sequence[TokenPlace]) -> Predicate:
    match place.kind:
        case "header":
            return _ambiguous_header(place, places)
        case "param":
            return _ambiguous_parameter("".join(_any_spelling(character) for character in place.name))
        case "cookie":
            return _ambiguous_cookie(re.escape(place.name))


def _ambiguous_header(place: TokenPlace, places: Sequence[TokenPlace]) -> Predicate:
    header, prefix = Attribute(Kind.HEADER, (place.name,)), re.escape(place.prefix)
    # Values of one header are looked at as one text with commas; no token has one. Behind another prefix it is no token.
    two = _matches(header, rf"\C*{prefix}\C*,\C*|\C*,\C*{prefix}\C*" if prefix else r"\C*,\C*")
    if not place.scheme:
        return two
    # In letters of any case, and whatever ends it.
    scheme = rf"(?:\C*,)?[ \t]*(?i:{re.escape(place.scheme)})\b\C+"
    prefixes = "|".join(re.escape(each) for each in prefixes_beside(place, places))
    return any_of([two, _hidden(header, scheme, rf"[ \t]*(?:{prefixes})\C*")])


def _ambiguous_parameter(name: str) -> Predicate:
    # Programs may separate them by a semicolon; Envoy does not.
    two = _matches(_PATH, rf"[^?]*\?(?:\C*[&;])?{name}(?:=\C*)?[&;](?:\C*[&;])?{name}(?:[=&;]\C*)?")
    hidden = _hidden(_PATH, rf"[^?]*\?(?:\C*[&;])?{name}(?:[=&;]\C*)?", rf"[^?]*\?(?:\C*&)?{name}(?:[=&]\C*)?")
    return any_of([two, hidden])


def _ambiguous_cookie(name: str) -> Predicate:
    # Programs may cut blanks off a name; Envoy cuts off spaces before it.
    two = _matches(_COOKIE, rf"(?:\C*[;,])?[ \t]*{name}[ \t]*=\C*[;,][ \t]*{name}[ \t]*=\C*")
    hidden = _hidden(_COOKIE, rf"(?:\C*[;,])?[ \t]*{name}[ \t]*=\C*", rf"(?:\C*[;,])? *{name}=\C*")
    return any_of([two, hidden])


def _hidden(attribute: Attribute, read: str, seen: str) -> Predicate:
    """A program may read a token there, and Envoy sees none."""
    return all_of([_matches(attribute, read), not_(_matches(attribute, seen))])


def _matches(attribute: Attribute, pattern: str) -> Predicate:
    return text_is(attribute, expression(pattern))


def _any_spelling(character: str) -> str:
    """A character of a parameter's name, as itself or escaped."""
    escaped = "".join(f"%(?i:{byte:02x})" for byte in character.encode())
    return f"(?:{re.escape(character)}|{escaped})"
