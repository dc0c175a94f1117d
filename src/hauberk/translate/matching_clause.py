"""Rules as clauses: questions joined by "and" and "or" only, some of which may already have been answered.

There is no "not" between them: whether a question asks for one of its patterns or for none of them is part of the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.pattern import Pattern
from hauberk.policy.rule import Alternative as Written
from hauberk.policy.rule import NormalRule


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows when a rule matches; `name` is what access records say of it."""

    name: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """Whether the attribute is one of `patterns`, or, `negated`, none of them."""

    attribute: Attribute
    patterns: tuple[Pattern, ...]
    negated: bool = False


Alternative = tuple[Ask, ...]  # all must hold
Factor = tuple[Alternative, ...]  # one must hold

Answer = Callable[[Ask], Ask | bool]
"""What is known about a question: that it holds, that it does not, or what is left of it to be asked."""

# What is found out at the least cost is asked first.
_EFFORT: Final = {Kind.PORT: 0, Kind.METHOD: 1, Kind.PATH: 2, Kind.IDENTITY: 3, Kind.HOST: 4, Kind.HEADER: 4}
_MOST_EFFORT: Final = 5


@dataclass(frozen=True, slots=True)
class Clause:
    """All of `factors` must hold. `size` is the number of patterns in it, and one."""

    factors: tuple[Factor, ...]
    outcome: Outcome
    attributes: frozenset[Attribute] = field(compare=False, repr=False)
    size: int = field(compare=False, repr=False)

    def asks(self) -> Iterator[Ask]:
        """Every question of it."""
        return (ask for factor in self.factors for alternative in factor for ask in alternative)

    def wanted(self, attribute: Attribute) -> Iterator[Pattern]:
        """The patterns of `attribute` that it asks for."""
        return (each for ask in self.asks() if ask.attribute == attribute and not ask.negated for each in ask.patterns)


def build_clause(rule: NormalRule, outcome: Outcome) -> Clause:
    """What must hold for `rule` to match."""
    conditions = [((Ask(each.attribute, each.patterns, each.negated),),) for each in rule.conditions]
    return _clause([*_factors(rule.sources), *_factors(rule.operations), *conditions], outcome)


def answered(clause: Clause, attribute: Attribute, answer: Answer) -> Clause | None:
    """What is left of `clause` when its questions about `attribute` have been answered; None: it cannot hold."""
    if attribute not in clause.attributes:
        return clause
    left: list[Factor] = []
    for factor in clause.factors:
        known = _factor(factor, attribute, answer)
        if known is False:
            return None
        if known is not True:
            left.append(known)
    return _clause(left, clause.outcome)


def _factor(factor: Factor, attribute: Attribute, answer: Answer) -> Factor | bool:
    left: list[Alternative] = []
    for alternative in factor:
        known = _alternative(alternative, attribute, answer)
        if known is True:
            return True
        if known is not False:
            left.append(known)
    return tuple(left) if left else False


def _alternative(alternative: Alternative, attribute: Attribute, answer: Answer) -> Alternative | bool:
    left: list[Ask] = []
    for ask in alternative:
        known = answer(ask) if ask.attribute == attribute else ask
        if known is False:
            return False
        if known is not True:
            left.append(known)
    return tuple(left) if left else True


def _clause(factors: Sequence[Factor], outcome: Outcome) -> Clause:
    ordered = tuple(sorted(factors, key=_effort))
    asks = [ask for factor in ordered for alternative in factor for ask in alternative]
    return Clause(ordered, outcome, frozenset(ask.attribute for ask in asks), 1 + sum(len(ask.patterns) for ask in asks))


def _effort(factor: Factor) -> int:
    return max(_EFFORT.get(ask.attribute.kind, _MOST_EFFORT) for alternative in factor for ask in alternative)


def _factors(alternatives: Sequence[Written]) -> Iterator[Factor]:
    if not alternatives or not all(alternatives):
        return  # everyone, or everything
    found = [tuple(Ask(each.attribute, each.patterns, each.negated) for each in alternative) for alternative in alternatives]
    if len(found) == 1:
        yield from (((ask,),) for ask in found[0])
    else:
        yield _joined(found)


def _joined(alternatives: Iterable[Alternative]) -> Factor:
    """Alternatives of one wanted attribute are one question: a thousand sources of one principal are as one of a thousand."""
    joined: dict[Attribute, dict[Pattern, None]] = {}
    others: list[Alternative] = []
    for alternative in alternatives:
        if len(alternative) == 1 and not alternative[0].negated:
            joined.setdefault(alternative[0].attribute, {}).update(dict.fromkeys(alternative[0].patterns))
        else:
            others.append(alternative)
    return (*((Ask(attribute, tuple(patterns)),) for attribute, patterns in joined.items()), *others)
