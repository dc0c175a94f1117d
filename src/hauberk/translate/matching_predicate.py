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
from xds.type.matcher.v3 import matcher_pb2

from hauberk.envoy.message import any_, uint32
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.pattern import AddressPattern, ListPattern, Pattern, PortPattern, RequestPrincipalPattern, TextPattern
from hauberk.translate.matching_clause import Alternative, Ask, Factor
from hauberk.translate.matching_text import Text, expression, parts_of, plain_text, text_expression
from hauberk.translate.one_identity import NAMES_STATE

Matcher = matcher_pb2.Matcher
Predicate = Matcher.MatcherList.Predicate
SinglePredicate = Predicate.SinglePredicate
TypedExtensionConfig = extension_pb2.TypedExtensionConfig
ValueMatcher = value_pb2.ValueMatcher

TOKENS: Final = "envoy.filters.http.jwt_authn"
VERIFIED: Final = "payload"

# Questions of so many values may be kept.
_USUAL: Final = 64


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


def _texts(attribute: Attribute, patterns: Sequence[TextPattern]) -> Iterator[Predicate]:
    if len(patterns) == 1 and (text := plain_text(attribute.kind, patterns[0])) is not None:
        yield text_is(attribute, text)
        return
    # One look at the input for many values.
    for part in parts_of([text_expression(attribute.kind, each) for each in patterns]):
        yield text_is(attribute, expression("|".join(part)))


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
