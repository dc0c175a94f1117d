"""What Envoy makes of a matcher, as it was seen to do: behind a branch in which nothing matches it goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.extensions.matching.input_matchers.ip.v3 import ip_pb2
from envoy.extensions.matching.input_matchers.metadata.v3 import metadata_pb2
from envoy.type.matcher.v3 import http_inputs_pb2, value_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2

Matcher = matcher_pb2.Matcher
Values = Callable[[str, tuple[str, ...]], Any]
"""What a request has, by the kind of the attribute and its key."""


def name_of(matcher: Matcher, values: Values) -> str | None:
    """The name of the action that is found."""
    return next(_found(matcher, values), None)


def _found(matcher: Matcher, values: Values) -> Iterator[str]:
    kind = matcher.WhichOneof("matcher_type")
    if kind == "matcher_list":
        for each in matcher.matcher_list.matchers:
            if _holds(each.predicate, values):
                yield from _followed(each.on_match, values)
    elif kind == "matcher_tree":
        tree = matcher.matcher_tree
        value = _value(tree.input, values)
        if value is not None and tree.WhichOneof("tree_type") == "exact_match_map":
            if value in tree.exact_match_map.map:
                yield from _followed(tree.exact_match_map.map[value], values)
        elif value is not None:
            prefixes = sorted((key for key in tree.prefix_match_map.map if value.startswith(key)), key=len, reverse=True)
            for key in prefixes:
                yield from _followed(tree.prefix_match_map.map[key], values)
    if matcher.HasField("on_no_match"):
        yield from _followed(matcher.on_no_match, values)


def _followed(on_match: Matcher.OnMatch, values: Values) -> Iterator[str]:
    if on_match.HasField("matcher"):
        yield from _found(on_match.matcher, values)
    else:
        action = rbac_pb2.Action()
        assert on_match.action.typed_config.Unpack(action)
        yield action.name


def _holds(predicate: Matcher.MatcherList.Predicate, values: Values) -> bool:
    match predicate.WhichOneof("match_type"):
        case "and_matcher":
            return all(_holds(each, values) for each in predicate.and_matcher.predicate)
        case "or_matcher":
            return any(_holds(each, values) for each in predicate.or_matcher.predicate)
        case "not_matcher":
            return not _holds(predicate.not_matcher, values)
        case _:
            return _single(predicate.single_predicate, values)


def _single(predicate: Matcher.MatcherList.Predicate.SinglePredicate, values: Values) -> bool:
    value = _value(predicate.input, values)
    if value is None:
        return False
    if predicate.HasField("value_match"):
        return _text(predicate.value_match, value)
    networks, metadata = ip_pb2.Ip(), metadata_pb2.Metadata()
    if predicate.custom_match.typed_config.Unpack(networks):
        ranges = (ip_network(f"{each.address_prefix}/{each.prefix_len.value}") for each in networks.cidr_ranges)
        return any(ip_address(value) in each for each in ranges)
    assert predicate.custom_match.typed_config.Unpack(metadata)
    return _structured(metadata.value, value)


def _structured(matcher: value_pb2.ValueMatcher, value: Any) -> bool:
    match matcher.WhichOneof("match_pattern"):
        case "string_match":
            return isinstance(value, str) and _text(matcher.string_match, value)
        case "list_match":
            return isinstance(value, list) and any(_structured(matcher.list_match.one_of, each) for each in value)
        case "or_match":
            return any(_structured(each, value) for each in matcher.or_match.value_matchers)
        case other:
            raise AssertionError(other)


def _text(matcher: Any, value: str) -> bool:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return re.fullmatch(matcher.safe_regex.regex.replace(r"\C", r"[\s\S]"), value) is not None
    wanted = getattr(matcher, kind)
    if matcher.ignore_case:
        wanted, value = wanted.lower(), value.lower()
    match kind:
        case "exact":
            return bool(value == wanted)
        case "prefix":
            return value.startswith(wanted)
        case _:
            return value.endswith(wanted)


def _value(given: extension_pb2.TypedExtensionConfig, values: Values) -> Any:
    header, metadata = http_inputs_pb2.HttpRequestHeaderMatchInput(), network_inputs_pb2.DynamicMetadataInput()
    if given.typed_config.Unpack(header):
        return values(given.name, (header.header_name,))
    if given.typed_config.Unpack(metadata):
        return values(given.name, (metadata.filter, *(segment.key for segment in metadata.path)))
    return values(given.name, ())
