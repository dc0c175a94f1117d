"""Rules of one action, asked so that the cost of a decision does not grow with their number.

For every attribute that a rule wants something of, a table says for a value which rules it leaves possible, as the bits of a number;
the bits that are left by all tables are the rules that are asked. A table only ever leaves too many: what decides is the rule itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.facts import Facts
from hauberk.policy.host import canonical_host
from hauberk.policy.matching import rule_matches
from hauberk.policy.normalization import LONGEST_REMEMBERED
from hauberk.policy.pattern import Pattern, PortPattern, TextPattern
from hauberk.policy.rule import Alternative, NormalRule, Question

_FEW: Final = 4  # so many rules are asked as fast as the tables
_KEPT: Final = 4096  # answers of one table
_TEXTS: Final = frozenset({Kind.IDENTITY, Kind.PATH, Kind.HOST, Kind.METHOD, Kind.HEADER, Kind.SNI, Kind.CLAIM, Kind.PORT})
_LITERAL: Final = re.compile(r"(?:[^\\.+*?()|\[\]{}^$]|\\[^A-Za-z0-9])*(?![+*?{])")


class Rules:
    """Rules in the order in which they are asked: that of their names."""

    def __init__(self, rules: Iterable[NormalRule]) -> None:
        self.ordered: Final = tuple(sorted(rules, key=lambda rule: str(rule.id)))
        self._tables: dict[Attribute, _Table] | None = None

    def first(self, facts: Facts) -> NormalRule | None:
        """The rule that decides."""
        return next(self.matching(facts), None)

    def matching(self, facts: Facts) -> Iterator[NormalRule]:
        """All that match, in order."""
        rules = self.ordered
        if len(rules) <= _FEW:
            return (rule for rule in rules if rule_matches(rule, facts))
        return (rules[number] for number in _bits(self._possible(facts)) if rule_matches(rules[number], facts))

    def _possible(self, facts: Facts) -> int:
        if self._tables is None:
            self._tables = _tables(self.ordered)
        left = (1 << len(self.ordered)) - 1
        for attribute, table in self._tables.items():
            left &= table.possible(facts.texts(attribute))
            if not left:
                break
        return left


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


class _Table:
    """Which rules each value of one attribute leaves possible."""

    def __init__(self, attribute: Attribute) -> None:
        self._fold = attribute.kind is Kind.HOST
        self._always = 0
        self._exact: dict[str, int] = {}
        self._prefixes: dict[int, dict[str, int]] = {}
        self._others: list[tuple[TextPattern, int]] = []
        self._known: dict[tuple[str, ...], int] = {}

    def add(self, bit: int, patterns: Iterable[TextPattern] | None) -> None:
        """The rule `bit` is possible if one of `patterns` is met; None: whatever the value is."""
        if patterns is None:
            self._always |= bit
        for pattern in patterns or ():
            self._add(bit, pattern)

    def _add(self, bit: int, pattern: TextPattern) -> None:
        prefix = pattern.text if pattern.match == "prefix" else _literal_prefix(pattern) if pattern.match == "regex" else ""
        if pattern.match == "exact":
            self._exact[pattern.text] = self._exact.get(pattern.text, 0) | bit
        elif len(prefix) > 1:
            table = self._prefixes.setdefault(len(prefix), {})
            table[prefix] = table.get(prefix, 0) | bit
        else:
            self._others.append((pattern, bit))

    def possible(self, texts: tuple[str, ...]) -> int:
        """The rules that remain."""
        known = self._known.get(texts)
        if known is None:
            if sum(map(len, texts)) > LONGEST_REMEMBERED:
                return self._find(texts)
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[texts] = self._find(texts)
        return known

    def _find(self, texts: tuple[str, ...]) -> int:
        found = self._always
        for text in self._spellings(texts):
            found |= self._exact.get(text, 0)
            for length, table in self._prefixes.items():
                found |= table.get(text[:length], 0)
            for pattern, bit in self._others:
                if not found & bit and (pattern.match == "present" or pattern.matches(text)):
                    found |= bit
        return found

    def _spellings(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """A host is compared with and without its port."""
        if not self._fold:
            return texts
        parts = [canonical_host(text) for text in texts]
        return tuple(spelling for name, port in parts for spelling in ((name,) if port is None else (name, f"{name}:{port}")))


def _literal_prefix(pattern: TextPattern) -> str:
    """What every text of an expression begins with."""
    found = _LITERAL.match(pattern.text)
    if "|" in re.sub(r"\\.|\([^()]*\)", "", pattern.text) or found is None:
        return ""
    return re.sub(r"\\(.)", r"\1", found[0])


def _tables(rules: tuple[NormalRule, ...]) -> dict[Attribute, _Table]:
    tables: dict[Attribute, _Table] = {}
    wanted = [_wanted(rule) for rule in rules]
    for attribute in dict.fromkeys(attribute for each in wanted for attribute in each):
        table = tables[attribute] = _Table(attribute)
        for number, each in enumerate(wanted):
            table.add(1 << number, each.get(attribute))
    return tables


def _wanted(rule: NormalRule) -> dict[Attribute, tuple[TextPattern, ...]]:
    """What a request must have of each attribute for the rule to be possible at all."""
    found: dict[Attribute, tuple[TextPattern, ...]] = {}
    for alternatives in (rule.sources, rule.operations, (rule.conditions,)):
        each = [_wanted_of(alternative) for alternative in alternatives]
        for attribute in each[0] if each else ():
            if all(attribute in other for other in each):
                found.setdefault(attribute, tuple(pattern for other in each for pattern in other[attribute]))
    return found


def _wanted_of(alternative: Alternative) -> dict[Attribute, tuple[TextPattern, ...]]:
    found: dict[Attribute, tuple[TextPattern, ...]] = {}
    for question in alternative:
        patterns = _texts_of(question)
        if patterns is not None:
            found.setdefault(question.attribute, patterns)
    return found


def _texts_of(question: Question) -> tuple[TextPattern, ...] | None:
    """The patterns by which a table can find the question; None if it cannot."""
    if question.negated or question.attribute.kind not in _TEXTS:
        return None
    found = [_text_of(pattern) for pattern in question.patterns]
    return tuple(each for each in found if each is not None) if None not in found else None


def _text_of(pattern: Pattern) -> TextPattern | None:
    if isinstance(pattern, PortPattern):
        return TextPattern("exact", str(pattern.number))
    return pattern if isinstance(pattern, TextPattern) else None
