"""Requests that a program may read in another way than a policy does, and that are refused where some policy asks about that part.

A path with an escaped slash; a host that no host can be; a method in lower case, which some frameworks take for the one in capitals; a
header's value with a blank at its end, which HTTP/2 carries and programs cut off. What no policy asks about is the program's own affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hauberk.api.authorization_rule import Action
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.facts import Facts
from hauberk.policy.normalization import AMBIGUOUS
from hauberk.policy.pattern import compiled
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.verdict import AMBIGUOUS_HEADER, AMBIGUOUS_HOST, AMBIGUOUS_METHOD, AMBIGUOUS_PATH

_AMBIGUOUS: Final = (Kind.PATH, Kind.HOST, Kind.METHOD, Kind.HEADER)
# Two hosts, which Envoy joins by a comma; a name before the host; two dots at its end, of which programs take away one, or both.
_NO_HOST: Final = r"[^A-Za-z0-9._:\[\]-]|\.\."
_LOWER_CASE: Final = "[a-z]"
_BLANK_AT_AN_END: Final = "^[ \t]|[ \t]$"


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Requests in whose `attribute` the expression `found` (RE2) occurs can be read in two ways; records say `name`."""

    name: str
    attribute: Attribute
    found: str

    def holds(self, facts: Facts) -> bool:
        """The request is one of those."""
        expression = compiled(self.found)
        return any(expression.search(text) for text in facts.texts(self.attribute))


def ambiguities(policies: Iterable[NormalPolicy], limited: Iterable[Attribute] = ()) -> tuple[Ambiguity, ...]:
    """All that matter to `policies` and to limits about `limited`, in the order in which a request is held against them."""
    asked = sorted(_asked(policies).union(limited), key=lambda attribute: (_AMBIGUOUS.index(attribute.kind), attribute.key))
    return tuple(_ambiguity(attribute) for attribute in asked)


def _asked(policies: Iterable[NormalPolicy]) -> set[Attribute]:
    # AUDIT never decides, so it refuses nothing either.
    rules = (rule for policy in policies if policy.action is not Action.AUDIT for rule in policy.rules)
    clauses = (clause for rule in rules for clause in (*rule.sources, *rule.operations, rule.conditions))
    return {question.attribute for clause in clauses for question in clause if question.attribute.kind in _AMBIGUOUS}


def _ambiguity(attribute: Attribute) -> Ambiguity:
    match attribute.kind:
        case Kind.PATH:
            return Ambiguity(AMBIGUOUS_PATH, attribute, AMBIGUOUS)
        case Kind.HOST:
            return Ambiguity(AMBIGUOUS_HOST, attribute, _NO_HOST)
        case Kind.METHOD:
            return Ambiguity(AMBIGUOUS_METHOD, attribute, _LOWER_CASE)
        case _:
            return Ambiguity(AMBIGUOUS_HEADER, attribute, _BLANK_AT_AN_END)
