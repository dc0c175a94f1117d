"""Whether a question holds: the one place that says what a pattern means for an attribute."""

from __future__ import annotations

from typing import assert_never

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.facts import Facts
from hauberk.policy.host import host_matches
from hauberk.policy.pattern import AddressPattern, ListPattern, Pattern, PortPattern, RequestPrincipalPattern, TextPattern
from hauberk.policy.rule import Alternative, NormalRule, Question


def holds(question: Question, facts: Facts) -> bool:
    """One of the patterns is met; for a negated question none, which is also true of what is absent."""
    return any(pattern_matches(pattern, question.attribute, facts) for pattern in question.patterns) is not question.negated


def rule_matches(rule: NormalRule, facts: Facts) -> bool:
    """Some source, some operation and every condition hold."""
    return (
        (not rule.sources or any(_all_hold(each, facts) for each in rule.sources))
        and (not rule.operations or any(_all_hold(each, facts) for each in rule.operations))
        and _all_hold(rule.conditions, facts)
    )


def first_failed(alternative: Alternative, facts: Facts) -> Question | None:
    """The first question that does not hold."""
    return next((each for each in alternative if not holds(each, facts)), None)


def _all_hold(alternative: Alternative, facts: Facts) -> bool:
    return all(holds(each, facts) for each in alternative)


def pattern_matches(pattern: Pattern, attribute: Attribute, facts: Facts) -> bool:
    """The attribute is what `pattern` means; what is absent is nothing."""
    match pattern:
        case TextPattern():
            return any(_text_matches(pattern, attribute.kind, text) for text in facts.texts(attribute))
        case AddressPattern(network):
            address = facts.address(attribute.kind)
            return address is not None and address in network
        case PortPattern(number):
            return facts.request.port == number
        case RequestPrincipalPattern(issuer, subject):
            principal = facts.principal()
            return principal is not None and issuer.matches(principal[0]) and subject.matches(principal[1])
        case ListPattern(text):
            value = facts.metadata(attribute.key)
            return isinstance(value, list | tuple) and any(isinstance(each, str) and text.matches(each) for each in value)
        case _:
            assert_never(pattern)


def _text_matches(pattern: TextPattern, kind: Kind, text: str) -> bool:
    if kind is Kind.HOST:
        return host_matches(pattern, text)
    # A header that is there counts even if it says nothing, as in Envoy.
    return (pattern.match == "present" and kind is Kind.HEADER) or pattern.matches(text)
