"""Which requests a rate limit counts, as Envoy's matchers of headers; values mean what they mean in an AuthorizationPolicy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from google.protobuf import wrappers_pb2

from hauberk.api.rate_limit import HeaderMatch, LimitMatch
from hauberk.policy.attribute import Kind
from hauberk.policy.host import parse_host
from hauberk.policy.pattern import parse_text
from hauberk.policy.principal import path_pattern
from hauberk.translate.matching_text import parts_of, text_expression

HeaderMatcher = route_components_pb2.HeaderMatcher
HeaderValueMatch = route_components_pb2.RateLimit.Action.HeaderValueMatch

_ANY: Final = "*"


def conditions(match: LimitMatch) -> list[HeaderValueMatch]:
    """All must hold; none: every request is meant."""
    together: list[HeaderMatcher] = []
    found = []
    for matchers in _questions(match):
        if len(matchers) == 1 or matchers[0].invert_match:
            together += matchers
        else:
            found.append(_any_of(matchers))
    return [HeaderValueMatch(headers=together), *found] if together else found


def _any_of(matchers: list[HeaderMatcher]) -> HeaderValueMatch:
    """One of `matchers` holds: Envoy, which can only ask whether all do, is asked whether not all of their opposites do."""
    # What a request does not have is as good as empty, which no value of a list is.
    opposites = [
        HeaderMatcher(name=each.name, string_match=each.string_match, invert_match=True, treat_missing_header_as_empty=True)
        for each in matchers
    ]
    return HeaderValueMatch(headers=opposites, expect_match=wrappers_pb2.BoolValue(value=False))


def _questions(match: LimitMatch) -> Iterator[list[HeaderMatcher]]:
    """One of those that are wanted must hold; of those that are excluded (`invert_match`) all."""
    yield from _field(":method", map(_method, match.methods), map(_method, match.not_methods))
    yield from _field(":path", map(_path, match.paths), map(_path, match.not_paths))
    yield from _field(":authority", map(_host, match.hosts), map(_host, match.not_hosts))
    for header in match.headers:
        yield from _header(header)


def _field(name: str, wanted: Iterable[str], excluded: Iterable[str]) -> Iterator[list[HeaderMatcher]]:
    if found := [HeaderMatcher(name=name, string_match=one) for one in _expressions(wanted)]:
        yield found
    if found := [HeaderMatcher(name=name, string_match=one, invert_match=True) for one in _expressions(excluded)]:
        yield found


def _header(header: HeaderMatch) -> Iterator[list[HeaderMatcher]]:
    name = header.name.lower()
    if _ANY in header.values:
        yield [HeaderMatcher(name=name, present_match=True)]
    elif header.values:
        yield [HeaderMatcher(name=name, string_match=one) for one in _expressions(map(_header_text, header.values))]
    if _ANY in header.not_values:
        yield [HeaderMatcher(name=name, present_match=True, invert_match=True)]
    elif header.not_values:
        # A request without the header has none of the values; to Envoy it matches nothing, not even the opposite.
        yield [
            HeaderMatcher(name=name, string_match=one, invert_match=True, treat_missing_header_as_empty=True)
            for one in _expressions(map(_header_text, header.not_values))
        ]


def _method(value: str) -> str:
    return text_expression(Kind.METHOD, parse_text(value))


def _path(value: str) -> str:
    return text_expression(Kind.PATH, path_pattern(value))


def _host(value: str) -> str:
    return text_expression(Kind.HOST, parse_host(value))


def _header_text(value: str) -> str:
    return text_expression(Kind.HEADER, parse_text(value))


def _expressions(texts: Iterable[str]) -> list[string_pb2.StringMatcher]:
    """Of which one is to match; several if one would be too long for Envoy."""
    return [string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex="|".join(part))) for part in parts_of(texts)]
