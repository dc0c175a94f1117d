"""Which rules mean which others: every request that one rule matches, another matches too. Safe: no also means not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hauberk.analysis.pattern_cover import implies, pattern_set
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.pattern import TextPattern
from hauberk.policy.rule import Alternative, NormalRule, Question

_SAMPLED = (Kind.IDENTITY, Kind.PATH, Kind.HOST)  # what rules mostly differ in


def rule_covers(wide: NormalRule, narrow: NormalRule) -> bool:
    """Whenever `narrow` matches, `wide` matches."""
    if not _covered(wide.sources, narrow.sources, narrow.conditions) or not _covered(wide.operations, narrow.operations, narrow.conditions):
        return False
    return all(_is_implied(question, narrow) for question in wide.conditions)


def _covered(wide: tuple[Alternative, ...], narrow: tuple[Alternative, ...], conditions: Alternative) -> bool:
    if not wide:
        return True
    return all(any(_implies_all((*one, *conditions), other) for other in wide) for one in narrow or ((),))


def _implies_all(narrow: Iterable[Question], wide: Alternative) -> bool:
    known = tuple(narrow)
    return all(any(implies(one, other) for one in known) for other in wide)


def _is_implied(question: Question, narrow: NormalRule) -> bool:
    if any(implies(each, question) for each in narrow.conditions):
        return True
    for alternatives in (narrow.sources, narrow.operations):
        if alternatives and all(any(implies(each, question) for each in alternative) for alternative in alternatives):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Shape:
    """What has to be so of a rule that covers another, and can be looked up: the attributes that both ask about."""

    needed: frozenset[Attribute]  # asked in every way to match
    asked: frozenset[Attribute]


def shape(rule: NormalRule) -> Shape:
    """The shape of `rule`."""
    needed = {question.attribute for question in rule.conditions}
    asked = set(needed)
    for alternatives in (rule.sources, rule.operations):
        each = [frozenset(question.attribute for question in alternative) for alternative in alternatives]
        if each:
            needed |= frozenset.intersection(*each)
            asked |= frozenset.union(*each)
    return Shape(frozenset(needed), frozenset(asked))


def samples(rule: NormalRule) -> Iterator[tuple[Kind, str]]:
    """Of what rules mostly differ in, one text that the rule means: a rule that covers it means it too."""
    for kind in _SAMPLED:
        question = next((each for each in _questions(rule) if each.attribute.kind is kind and not each.negated), None)
        first = question.patterns[0] if question else None
        if isinstance(first, TextPattern) and first.match == "exact":
            yield kind, first.text


def required(rule: NormalRule, kind: Kind) -> frozenset[str] | None:
    """The only texts that the attribute may have where the rule matches; None if they cannot be listed."""
    found: set[str] = set()
    for alternatives in (rule.sources, rule.operations, (rule.conditions,)):
        if not alternatives:
            continue
        listed = [_listed(alternative, kind) for alternative in alternatives]
        if all(each is not None for each in listed):
            found.update(*(each for each in listed if each is not None))
            return frozenset(found)
    return None


def _listed(alternative: Alternative, kind: Kind) -> frozenset[str] | None:
    for question in alternative:
        if question.attribute.kind is kind and not question.negated:
            patterns = pattern_set(question.patterns)
            if not patterns.others:
                return patterns.exact
    return None


def _questions(rule: NormalRule) -> Iterator[Question]:
    yield from (question for alternatives in (rule.sources, rule.operations) for each in alternatives for question in each)
    yield from rule.conditions
