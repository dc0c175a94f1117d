"""Questions of policies as Envoy's predicates.

An attribute that a request does not have is no input: a predicate about it is false and its opposite true, which is what a policy
means by a caller without identity or a request without token. Only the certificate of a connection without TLS is no such input:
Envoy gives up and denies. So the identity is asked of what the connection keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, assert_never

from envoy.config.core.v3 import address_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2 as network_pb2
from envoy.extensions.matching.input_matchers.ip.v3 import ip_pb2
from envoy.extensions.matching.input_matchers.metadata.v3 import metadata_pb2
from envoy.type.matcher.v3 import http_inputs_pb2, regex_pb2, value_pb2
from envoy.type.matcher.v3 import string_pb2 as envoy_string_pb2
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2, string_pb2
from xds.type.matcher.v3 import regex_pb2 as xds_regex_pb2

from hauberk.envoy.message import any_, uint32
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.host import host_expression
from hauberk.policy.pattern import AddressPattern, ListPattern, Pattern, PortPattern, RequestPrincipalPattern, TextPattern, quote
from hauberk.translate.matching_clause import Alternative, Ask, Factor
from hauberk.translate.one_identity import NAMES_STATE

Matcher = matcher_pb2.Matcher
Predicate = Matcher.MatcherList.Predicate
SinglePredicate = Predicate.SinglePredicate
TypedExtensionConfig = extension_pb2.TypedExtensionConfig
ValueMatcher = value_pb2.ValueMatcher
Text = string_pb2.StringMatcher

TOKENS: Final = "envoy.filters.http.jwt_authn"
VERIFIED: Final = "payload"

# Expressions are bounded in length by Envoy: many values are asked in several.
_LONGEST: Final = 16_000
# Questions of so many values may be kept.
_USUAL: Final = 64
# What may follow a path. Not a dot: it matches no byte that is not UTF-8, and a query may hold any.
_QUERY: Final = r"(?:[?#]\C*)?"


@lru_cache(maxsize=1024)
def input_of(attribute: Attribute) -> TypedExtensionConfig:
    """Where Envoy finds `attribute`."""
    return TypedExtensionConfig(name=attribute.kind, typed_config=any_(_INPUTS[attribute.kind](attribute.key)))


_INPUTS: Final[Mapping[Kind, Callable[[tuple[str, ...]], Message]]] = {
    Kind.IDENTITY: lambda _: network_pb2.FilterStateInput(key=NAMES_STATE),
    Kind.DIRECT_IP: lambda _: network_pb2.DirectSourceIPInput(),
    Kind.REMOTE_IP: lambda _: network_pb2.SourceIPInput(),
    Kind.DESTINATION_IP: lambda _: network_pb2.DestinationIPInput(),
    Kind.PORT: lambda _: network_pb2.DestinationPortInput(),
    Kind.SNI: lambda _: network_pb2.ServerNameInput(),
    Kind.HOST: lambda _: http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=":authority"),
    Kind.METHOD: lambda _: http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=":method"),
    Kind.PATH: lambda _: http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=":path"),
    Kind.HEADER: lambda key: http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=key[0]),
    Kind.CLAIM: lambda key: _metadata_input(TOKENS, (VERIFIED, *key)),
    Kind.REQUEST_PRINCIPAL: lambda key: _metadata_input(TOKENS, (VERIFIED, *key)),
    Kind.METADATA: lambda key: _metadata_input(key[0], key[1:]),
}


def _metadata_input(namespace: str, path: Iterable[str]) -> network_pb2.DynamicMetadataInput:
    segments = [network_pb2.DynamicMetadataInput.PathSegment(key=key) for key in path]
    return network_pb2.DynamicMetadataInput(filter=namespace, path=segments)


def predicate_of(factors: Sequence[Factor]) -> Predicate | None:
    """Whether all of `factors` hold; None: there are none, so that they do."""
    return all_of([_factor(factor) for factor in factors]) if factors else None


def _factor(factor: Factor) -> Predicate:
    return any_of([_alternative(each) for each in factor])


def _alternative(alternative: Alternative) -> Predicate:
    return all_of([predicate_of_ask(each) for each in alternative])


def predicate_of_ask(ask: Ask) -> Predicate:
    """Whether the question is answered by yes."""
    return _usual_ask(ask) if len(ask.patterns) <= _USUAL else _ask(ask)


@lru_cache(maxsize=4096)
def _usual_ask(ask: Ask) -> Predicate:
    # Many rules ask the same: the same paths of each caller, the same callers for each path.
    return _ask(ask)


def _ask(ask: Ask) -> Predicate:
    holds = any_of(list(_any_of_patterns(ask.attribute, ask.patterns)))
    return not_(holds) if ask.negated else holds


@lru_cache(maxsize=1)
def always() -> Predicate:
    """What holds of every request: it has a method."""
    return not_(text_is(Attribute(Kind.METHOD), Text(exact="")))


def all_of(found: Sequence[Predicate]) -> Predicate:
    return found[0] if len(found) == 1 else Predicate(and_matcher=Predicate.PredicateList(predicate=found))


def any_of(found: Sequence[Predicate]) -> Predicate:
    return found[0] if len(found) == 1 else Predicate(or_matcher=Predicate.PredicateList(predicate=found))


def not_(predicate: Predicate) -> Predicate:
    return Predicate(not_matcher=predicate)


def text_is(attribute: Attribute, text: Text) -> Predicate:
    return Predicate(single_predicate=SinglePredicate(input=input_of(attribute), value_match=text))


def expression(regex: str) -> Text:
    """All of a text matches `regex` (RE2)."""
    return Text(safe_regex=xds_regex_pb2.RegexMatcher(google_re2=xds_regex_pb2.RegexMatcher.GoogleRE2(), regex=regex))


def _any_of_patterns(attribute: Attribute, patterns: Sequence[Pattern]) -> Iterator[Predicate]:
    match attribute.kind:
        case Kind.PORT:
            numbers = [each.number for each in patterns if isinstance(each, PortPattern)]
            yield from (text_is(attribute, Text(exact=str(number))) for number in numbers)
        case Kind.DIRECT_IP | Kind.REMOTE_IP | Kind.DESTINATION_IP:
            yield _address_is(attribute, [each for each in patterns if isinstance(each, AddressPattern)])
        case Kind.CLAIM | Kind.METADATA:
            yield _metadata_is(
                attribute, [_value(attribute.kind, each) for each in patterns if isinstance(each, TextPattern | ListPattern)]
            )
        case Kind.REQUEST_PRINCIPAL:
            yield from (_principal_is(each) for each in patterns if isinstance(each, RequestPrincipalPattern))
        case Kind.IDENTITY | Kind.SNI | Kind.HOST | Kind.METHOD | Kind.PATH | Kind.HEADER:
            texts = [each for each in patterns if isinstance(each, TextPattern)]
            yield from _texts(attribute, texts)
        case other:
            assert_never(other)


# --- texts


def _texts(attribute: Attribute, patterns: Sequence[TextPattern]) -> Iterator[Predicate]:
    if len(patterns) == 1 and (text := _plain(attribute.kind, patterns[0])) is not None:
        yield text_is(attribute, text)
        return
    # One look at the input for many values.
    for part in _parts([text_expression(attribute.kind, each) for each in patterns]):
        yield text_is(attribute, expression("|".join(part)))


def _plain(kind: Kind, pattern: TextPattern) -> Text | None:
    """`pattern` without an expression, which costs more."""
    text, ignore_case = pattern.text, pattern.ignore_case
    if kind is Kind.HOST or not text or (kind is Kind.PATH and (pattern.match != "prefix" or has_query(text))):
        return None
    match pattern.match:
        case "exact":
            return Text(exact=text, ignore_case=ignore_case)
        case "prefix":
            return Text(prefix=text, ignore_case=ignore_case)
        case "suffix":
            return Text(suffix=text, ignore_case=ignore_case)
        case _:
            return None


def text_expression(kind: Kind, pattern: TextPattern) -> str:
    """`pattern` as an expression for all of the input."""
    if kind is Kind.HOST:
        return f"(?:{host_expression(pattern)})"
    if kind is Kind.PATH:
        return _path_expression(pattern)
    text = quote(pattern.text)
    match pattern.match:
        case "exact":
            found = text
        case "prefix":
            found = rf"{text}\C*"
        case "suffix":
            found = rf"\C*{text}"
        case "present":
            # Of a header it is enough that it is there.
            found = r"\C*" if kind is Kind.HEADER else "spiffe://.*" if kind is Kind.IDENTITY else r"\C+"
        case "regex":
            found = pattern.text
        case other:
            assert_never(other)
    return f"(?{'i' if pattern.ignore_case else ''}:{found})"


def _path_expression(pattern: TextPattern) -> str:
    """About the path without query and fragment, which Envoy's `:path` has; neither can be part of a value that matches."""
    if has_query(pattern.text) and pattern.match != "regex":
        return r"\b\B"  # nothing is both
    text = quote(pattern.text)
    match pattern.match:
        case "exact":
            return f"{text}{_QUERY}"
        case "prefix":
            return rf"{text}\C*"
        case "suffix":
            return f"[^?#]*{text}{_QUERY}"
        case "present":
            return r"[^?#]\C*"
        case "regex":
            return f"(?:{without_query(pattern.text)}){_QUERY}"
        case other:
            assert_never(other)


def without_query(regex: str) -> str:
    """`regex`, in which no wildcard goes beyond the path."""
    out: list[str] = []
    rest = iter(regex)
    in_class = False
    for character in rest:
        if character == "\\":
            out.append(character + next(rest, ""))
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        out.append("[^?#]" if character == "." and not in_class else character)
    return "".join(out).replace("[^/]", "[^/?#]")


def has_query(text: str) -> bool:
    return "?" in text or "#" in text


def _parts(expressions: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    length = 0
    for each in expressions:
        if part and length + len(each) > _LONGEST:
            yield part
            part, length = [], 0
        part.append(each)
        length += len(each) + 1
    if part:
        yield part


# --- everything else


def _address_is(attribute: Attribute, patterns: Iterable[AddressPattern]) -> Predicate:
    ranges = [
        address_pb2.CidrRange(address_prefix=str(each.network.network_address), prefix_len=uint32(each.network.prefixlen))
        for each in patterns
    ]
    return _custom(attribute, "ip", ip_pb2.Ip(cidr_ranges=ranges, stat_prefix="policy"))


def _metadata_is(attribute: Attribute, values: Sequence[ValueMatcher]) -> Predicate:
    value = values[0] if len(values) == 1 else ValueMatcher(or_match=value_pb2.OrMatcher(value_matchers=values))
    return _custom(attribute, "metadata", metadata_pb2.Metadata(value=value))


def _value(kind: Kind, pattern: TextPattern | ListPattern) -> ValueMatcher:
    if isinstance(pattern, ListPattern):
        return _one_of_list(_string(pattern.text))
    text = _string(pattern)
    if kind is Kind.METADATA:
        return text
    # A claim may be one text or a list of them.
    return ValueMatcher(or_match=value_pb2.OrMatcher(value_matchers=[text, _one_of_list(text)]))


def _one_of_list(element: ValueMatcher) -> ValueMatcher:
    return ValueMatcher(list_match=value_pb2.ListMatcher(one_of=element))


def _string(pattern: TextPattern) -> ValueMatcher:
    text, ignore_case = pattern.text, pattern.ignore_case
    made = envoy_string_pb2.StringMatcher(ignore_case=ignore_case)
    match pattern.match:
        case "exact":
            made.exact = text
        case "prefix" if text:
            made.prefix = text
        case "suffix" if text:
            made.suffix = text
        case _:
            made = envoy_string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=text_expression(Kind.CLAIM, pattern)))
    return ValueMatcher(string_match=made)


def _principal_is(pattern: RequestPrincipalPattern) -> Predicate:
    parts = (("iss", pattern.issuer), ("sub", pattern.subject))
    return all_of([_metadata_is(Attribute(Kind.CLAIM, (key,)), [_string(text)]) for key, text in parts])


def _custom(attribute: Attribute, name: str, message: Message) -> Predicate:
    matcher = TypedExtensionConfig(name=name, typed_config=any_(message))
    return Predicate(single_predicate=SinglePredicate(input=input_of(attribute), custom_match=matcher))
