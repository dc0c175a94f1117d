"""Requests whose token Envoy and the program may read differently, refused before any token is verified.

Of a parameter or cookie that comes twice Envoy verifies the first, and the program may read the last; of a header that comes twice both
are verified, and what they say is written into one header twice. What is spelled otherwise than Envoy compares it, as `bearer`, Envoy does
not see, and the program may. Either way the one who was authorized is not the one who is served.
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
            # Values of one header are looked at as one text with commas; no token has one. Behind another prefix it is no token.
            prefix = re.escape(place.prefix)
            two = _header(place.name, rf"\C*{prefix}\C*,\C*|\C*,\C*{prefix}\C*" if prefix else r"\C*,\C*")
            return any_of([two, _in_another_spelling(place, places)]) if place.scheme else two
        case "param":
            name = "".join(_any_spelling(character) for character in place.name)
            twice = rf"[^?]*\?(?:\C*&)?{name}(?:=\C*)?&(?:\C*&)?{name}(?:[=&]\C*)?"
            return text_is(Attribute(Kind.PATH), expression(twice))
        case "cookie":
            name = re.escape(place.name)
            return _header("cookie", rf"(?:\C*[;,])?\s*{name}=\C*[;,]\s*{name}=\C*")


def _in_another_spelling(place: TokenPlace, places: Sequence[TokenPlace]) -> Predicate:
    """The scheme stands there, in letters of any case and whatever ends it, and no prefix as Envoy compares it."""
    scheme = _header(place.name, rf"(?:\C*,)?[ \t]*(?i:{re.escape(place.scheme)})\b\C+")
    prefixes = "|".join(re.escape(prefix) for prefix in prefixes_beside(place, places))
    return all_of([scheme, not_(_header(place.name, rf"[ \t]*(?:{prefixes})\C*"))])


def _any_spelling(character: str) -> str:
    """A character of a parameter's name, as itself or escaped."""
    escaped = "".join(f"%(?i:{byte:02x})" for byte in character.encode())
    return f"(?:{re.escape(character)}|{escaped})"


def _header(name: str, pattern: str) -> Predicate:
    return text_is(Attribute(Kind.HEADER, (name,)), expression(pattern))
