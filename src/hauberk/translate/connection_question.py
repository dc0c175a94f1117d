"""Questions of policies about a TCP connection, as expressions (CEL).

An expression can read the caller's identity, the server name, ports, and what was kept with the connection before. Networks are asked
by the masked address, which is kept once for each length of a mask that occurs. What is too long for one expression is asked in
several, whose common answer is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final, assert_never

from hauberk.policy.attribute import Kind
from hauberk.policy.pattern import AddressPattern, Pattern, PortPattern, TextPattern, quote
from hauberk.policy.rule import Alternative, NormalRule, Question
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.connection_identity import has_usual_form, is_identity
from hauberk.translate.connection_state import State, state
from hauberk.translate.expression import (
    LONGEST,
    TRUE,
    all_of,
    any_of,
    bytes_literal,
    evaluated,
    if_,
    kept,
    literal,
    member,
    not_,
    parts,
)

_SERVER_NAME: Final = "connection.requested_server_name"
_PORT: Final = "destination.port"

# Whether the caller's identity has the usual form.
_USUAL: Final = "hauberk.usual"

# What connections of bytes do not have matches nothing: HTTP's attributes, tokens, dynamic metadata.
_CALLER: Final = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT({mask})%"
_CALLED: Final = "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT({mask})%"
# Nobody stands between the caller and a connection of bytes who could say where it comes from: both are its own address.
_ADDRESSES: Final = {
    Kind.DIRECT_IP: ("caller", _CALLER),
    Kind.REMOTE_IP: ("caller", _CALLER),
    Kind.DESTINATION_IP: ("called", _CALLED),
}


class Questions:
    """The questions of all rules that are asked about one kind of connections; `mutual`: through mutual TLS.

    `states` is what is to be kept before any of the expressions is evaluated.
    """

    def __init__(self, domains: TrustDomains, *, mutual: bool) -> None:
        self._domains = domains
        self._mutual = mutual
        self._usual = False
        self._addresses: dict[str, State] = {}
        self._answers: list[State] = []
        self._negative: dict[str, str] = {}

    @property
    def states(self) -> tuple[State, ...]:
        usual = if_(has_usual_form(self._domains), "'1'", "'0'")
        known = [state(_USUAL, evaluated(usual))] if self._usual else []
        return (*known, *(self._addresses[key] for key in sorted(self._addresses)), *self._answers)

    def rule(self, rule: NormalRule, *, wide: bool) -> str:
        """Whether `rule` matches; `wide`: also whom it might match, where that cannot be found out."""
        conditions = (self._question(each, wide=wide) for each in rule.conditions)
        return self._all([self._one_of(rule.sources, wide=wide), self._one_of(rule.operations, wide=wide), *conditions])

    def _one_of(self, alternatives: Sequence[Alternative], *, wide: bool) -> str:
        if not alternatives:
            return TRUE
        return self._any([self._all(self._question(question, wide=wide) for question in each) for each in alternatives])

    def _question(self, question: Question, *, wide: bool) -> str:
        # Whoever is excluded by a question that means too many is one too many.
        holds = self._any(self._is(question.attribute.kind, question.patterns, wide=wide is not question.negated))
        return self._negative.get(holds, not_(holds)) if question.negated else holds

    def _is(self, kind: Kind, patterns: Sequence[Pattern], *, wide: bool) -> Iterator[str]:
        match kind:
            case Kind.IDENTITY:
                return self._identities(patterns, wide=wide) if self._mutual else iter(())
            case Kind.SNI:
                return _texts(_SERVER_NAME, patterns)
            case Kind.PORT:
                numbers = {each.number for each in patterns if isinstance(each, PortPattern)}
                return member(_PORT, [str(number) for number in sorted(numbers)])
            case Kind.DIRECT_IP | Kind.REMOTE_IP | Kind.DESTINATION_IP:
                return self._networks(kind, [each.network for each in patterns if isinstance(each, AddressPattern)])
            case Kind.HOST | Kind.METHOD | Kind.PATH | Kind.HEADER | Kind.REQUEST_PRINCIPAL | Kind.CLAIM | Kind.METADATA:
                return iter(())
            case other:
                assert_never(other)

    def _identities(self, patterns: Sequence[Pattern], *, wide: bool) -> Iterator[str]:
        usual = f"{kept(_USUAL)} == b'1'"
        for expression in is_identity(patterns, usual, self._domains, wide=wide):
            self._usual |= _USUAL in expression
            yield expression

    def _networks(self, kind: Kind, networks: Iterable[IPv4Network | IPv6Network]) -> Iterator[str]:
        name, text = _ADDRESSES[kind]
        by_mask: dict[int, set[str]] = {}
        for network in networks:
            by_mask.setdefault(network.prefixlen, set()).add(_written(network))
        for mask, found in sorted(by_mask.items()):
            key = f"hauberk.{name}-{mask:03}"
            # An address of the other family may be kept under it as well: it is written differently, and so it is none of these.
            self._addresses[key] = state(key, text.format(mask=mask))
            yield from member(kept(key), [bytes_literal(each) for each in sorted(found)])

    # --- what may be too long

    def _any(self, expressions: Iterable[str]) -> str:
        return self._fitting(list(expressions), any_of, "0", lambda part: f"{part} ? '1' : ''")

    def _all(self, expressions: Iterable[str]) -> str:
        return self._fitting(list(expressions), all_of, "1", lambda part: f"{part} ? '' : '0'")

    def _fitting(self, found: list[str], join: Callable[[Iterable[str]], str], first: str, answer: Callable[[str], str]) -> str:
        whole = join(found)
        if len(whole) <= LONGEST:
            return whole
        key = f"hauberk.asked-{len(self._answers)}"
        self._answers.append(state(key, first))
        for part in parts(found):
            self._answers.append(state(key, evaluated(answer(f"({join(part)})")), if_any=True))
        expression = f"{kept(key)} == b'1'"
        # Not simply its opposite: an answer that could not be found out is neither.
        self._negative[expression] = f"{kept(key)} == b'0'"
        return expression


def _texts(subject: str, patterns: Sequence[Pattern]) -> Iterator[str]:
    texts = [each for each in patterns if isinstance(each, TextPattern)]
    exact = {each.text for each in texts if each.match == "exact" and not each.ignore_case}
    yield from member(subject, [literal(text) for text in sorted(exact)])
    for each in texts:
        if each.match != "exact" or each.ignore_case:
            yield _text(subject, each)


def _text(subject: str, pattern: TextPattern) -> str:
    if pattern.ignore_case:
        return _ignoring_case(subject, pattern)
    match pattern.match:
        case "exact":
            return f"{subject} == {literal(pattern.text)}"
        case "prefix":
            return f"{subject}.startsWith({literal(pattern.text)})"
        case "suffix":
            return f"{subject}.endsWith({literal(pattern.text)})"
        case "present":
            return f"{subject} != ''"
        case "regex":
            # CEL looks for the pattern anywhere; ours mean the whole text. Absent is empty here, and matches nothing.
            return f"{subject} != '' && {subject}.matches({literal(f'^(?:{pattern.text})$')})"
        case _:
            assert_never(pattern.match)


def _ignoring_case(subject: str, pattern: TextPattern) -> str:
    quoted = quote(pattern.text)
    text = {"exact": quoted, "prefix": f"{quoted}.*", "suffix": f".*{quoted}", "present": ".+", "regex": pattern.text}[pattern.match]
    return f"{subject} != '' && {subject}.matches({literal(f'(?is)^(?:{text})$')})"


def _written(network: IPv4Network | IPv6Network) -> str:
    """As Envoy writes it: a v4 address inside of a v6 one has dots."""
    number = int(network.network_address)
    if network.version == 4 or not number >> 16 or number >> 32 not in (0, 0xFFFF):
        return str(network)
    return f"::{'ffff:' if number >> 32 else ''}{IPv4Address(number & 0xFFFFFFFF)}/{network.prefixlen}"
