"""Rules of policies as one of Envoy's matchers, whose cost for a request grows with its depth and not with the number of rules.

Rules are asked in order, the first that matches decides. How they become a tree stands in `matching_tree`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.pattern import PortPattern
from hauberk.policy.rule import NormalRule
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.matching_clause import Clause, Outcome, answered, build_clause
from hauberk.translate.matching_identity import UsualIdentities
from hauberk.translate.matching_tree import FieldMatcher, Matcher, OnMatch, decided, first_of

_PORT: Final = Attribute(Kind.PORT)
# So many questions must become quicker for the usual identities to be told from others.
_WORTHWHILE: Final = 4
_STAGES: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where rules are asked: in a mesh of `domains`, of requests to `port`; None: to any port."""

    domains: TrustDomains
    port: int | None = None


def outcome_matcher(rules: Iterable[tuple[NormalRule, Outcome]], default: Outcome, place: Place) -> Matcher:
    """What the first of `rules` that matches has as its outcome, or `default` if none does."""
    return whole(rules_on_match([build_clause(rule, outcome) for rule, outcome in rules], decided(default), place))


def rules_on_match(clauses: Iterable[Clause], behind: OnMatch, place: Place) -> OnMatch:
    """The outcome of the first of `clauses` that holds, or what stands `behind`."""
    here = _at(place.port, clauses)
    usual = UsualIdentities(place.domains)
    if usual.gains(here) < _WORTHWHILE:
        return _staged(here, behind)
    other = FieldMatcher(predicate=usual.in_other_form(), on_match=_staged(here, behind))
    return OnMatch(matcher=Matcher(matcher_list=Matcher.MatcherList(matchers=[other]), on_no_match=_staged(usual.clauses(here), behind)))


def _at(port: int | None, clauses: Iterable[Clause]) -> list[Clause]:
    if port is None:
        return list(clauses)
    there = PortPattern(port)
    found = (answered(clause, _PORT, lambda ask: (there in ask.patterns) is not ask.negated) for clause in clauses)
    return [clause for clause in found if clause is not None]


def _staged(clauses: Iterable[Clause], behind: OnMatch) -> OnMatch:
    # What denies and what allows each in a tree of its own: the names of many that allow are then in no branch before those that deny.
    found = list(clauses)
    stages = [list(group) for _, group in groupby(found, key=lambda clause: clause.outcome.allowed)]
    for stage in reversed(stages) if len(stages) == _STAGES else [found]:
        behind = first_of(stage, behind) or behind
    return behind


def whole(found: OnMatch) -> Matcher:
    """`found` as a matcher that can stand alone."""
    return found.matcher if found.HasField("matcher") else Matcher(on_no_match=found)
