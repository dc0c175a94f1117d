"""Which requests a rate limit counts, as Envoy's matchers of headers; values mean what they mean in an AuthorizationPolicy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from hauberk.api.rate_limit import HeaderMatch, LimitMatch
from hauberk.policy.attribute import Kind
from hauberk.policy.host import parse_host
from hauberk.policy.pattern import parse_text
from hauberk.policy.principal import path_pattern
from hauberk.translate.matching_text import text_expression

HeaderMatcher = route_components_pb2.HeaderMatcher

_ANY: Final = "*"


def matchers(match: LimitMatch) -> list[HeaderMatcher]:
    """All must hold; none: every request is meant."""
    return [
        *_field(":method", map(_method, match.methods), map(_method, match.not_methods)),
        *_field(":path", map(_path, match.paths), map(_path, match.not_paths)),
        *_field(":authority", map(_host, match.hosts), map(_host, match.not_hosts)),
        *(each for header in match.headers for each in _header(header)),
    ]


def _field(name: str, wanted: Iterable[str], excluded: Iterable[str]) -> Iterator[HeaderMatcher]:
    if one := "|".join(wanted):
        yield HeaderMatcher(name=name, string_match=_expression(one))
    if one := "|".join(excluded):
        yield HeaderMatcher(name=name, string_match=_expression(one), invert_match=True)


def _header(header: HeaderMatch) -> Iterator[HeaderMatcher]:
    name = header.name.lower()
    if header.values:
        yield HeaderMatcher(name=name, string_match=_expression("|".join(map(_header_text, header.values))))
    if _ANY in header.not_values:
        yield HeaderMatcher(name=name, present_match=True, invert_match=True)
    elif header.not_values:
        # A request without the header has none of the values; to Envoy it matches nothing, not even the opposite.
        excluded = _expression("|".join(map(_header_text, header.not_values)))
        yield HeaderMatcher(name=name, string_match=excluded, invert_match=True, treat_missing_header_as_empty=True)


def _method(value: str) -> str:
    return text_expression(Kind.METHOD, parse_text(value))


def _path(value: str) -> str:
    return text_expression(Kind.PATH, path_pattern(value))


def _host(value: str) -> str:
    return text_expression(Kind.HOST, parse_host(value))


def _header_text(value: str) -> str:
    return text_expression(Kind.HEADER, parse_text(value))


def _expression(text: str) -> string_pb2.StringMatcher:
    return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=text))
