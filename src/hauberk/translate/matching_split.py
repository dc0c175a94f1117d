"""Ways to tell requests apart by one look at an attribute, however many values policies name.

A split has keys. In the branch of a key something is known of the attribute, so that many questions about it need not be asked.
Envoy leaves a branch in which nothing matches: from a longer prefix to the next shorter one, and then to what stands behind the
split. So what stands there need not ask for keys any more, and must not take them for excluded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xds.type.matcher.v3 import matcher_pb2

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.pattern import Match, Pattern, TextPattern
from hauberk.translate.matching_clause import Ask, Clause
from hauberk.translate.matching_predicate import input_of
from hauberk.translate.matching_text import has_query

Matcher = matcher_pb2.Matcher

_EXACT: Final = frozenset({Kind.IDENTITY, Kind.METHOD, Kind.HEADER, Kind.SNI})
_PREFIX: Final = frozenset({Kind.IDENTITY, Kind.PATH})
_SPECIAL: Final = frozenset("\\.+*?()|[]{}^$")


class Split(ABC):
    """By `attribute`. What a question says of keys is found out once, however many branches there are."""

    def __init__(self, attribute: Attribute) -> None:
        self.attribute: Final = attribute
        self._read: dict[int, tuple[Ask, _Values]] = {}

    @abstractmethod
    def key(self, pattern: Pattern) -> str | None:
        """The key in whose branch `pattern` is asked for, if it is in one."""

    @abstractmethod
    def shorter(self, key: str, keys: Collection[str]) -> Iterator[str]:
        """Keys whose branches a request reaches that has left the branch of `key`."""

    @abstractmethod
    def inside(self, ask: Ask, key: str) -> Ask | bool:
        """What is left of a question in the branch of `key`.

        A wanted pattern that has been asked for in the branch of a longer key is known not to match.
        """

    @abstractmethod
    def tree(self, branches: dict[str, Matcher.OnMatch]) -> Matcher.MatcherTree:
        """The branches as Envoy has them."""

    def keys(self, clause: Clause) -> Iterator[str]:
        """Keys in whose branches `clause` has to be asked."""
        return (key for pattern in clause.wanted(self.attribute) if (key := self.key(pattern)) is not None)

    def behind(self, ask: Ask) -> Ask | bool:
        """What is left of a question behind all branches."""
        if ask.negated:
            return ask
        others = self.values(ask).others
        return Ask(ask.attribute, others) if others else False

    def values(self, ask: Ask) -> _Values:
        """The patterns of `ask` by their keys."""
        known = self._read.get(id(ask))
        if known is None:
            by_key: dict[str, list[Pattern]] = {}
            others: list[Pattern] = []
            for pattern in ask.patterns:
                key = self.key(pattern)
                (others if key is None else by_key.setdefault(key, [])).append(pattern)
            # With the question itself: no other one may get its number meanwhile.
            known = self._read[id(ask)] = ask, _Values(by_key, tuple(others))
        return known[1]


@dataclass(frozen=True, slots=True)
class _Values:
    by_key: Mapping[str, Sequence[Pattern]]
    others: tuple[Pattern, ...]


class ExactSplit(Split):
    """Keys are whole values."""

    def key(self, pattern: Pattern) -> str | None:
        if not isinstance(pattern, TextPattern) or pattern.match != "exact" or pattern.ignore_case:
            return None
        return pattern.text

    def shorter(self, key: str, keys: Collection[str]) -> Iterator[str]:
        return iter(())

    def inside(self, ask: Ask, key: str) -> Ask | bool:
        values = self.values(ask)
        found = key in values.by_key or any(self._is(pattern, key) for pattern in values.others)
        return found is not ask.negated

    def tree(self, branches: dict[str, Matcher.OnMatch]) -> Matcher.MatcherTree:
        return Matcher.MatcherTree(input=input_of(self.attribute), exact_match_map=Matcher.MatcherTree.MatchMap(map=branches))

    def _is(self, pattern: Pattern, value: str) -> bool:
        if not isinstance(pattern, TextPattern):
            return False
        return (pattern.match == "present" and self.attribute.kind is Kind.HEADER) or pattern.matches(value)


class PrefixSplit(Split):
    """Keys are beginnings; of a path those that are before its query in any case."""

    def key(self, pattern: Pattern) -> str | None:
        if not isinstance(pattern, TextPattern) or pattern.ignore_case:
            return None
        key = _beginning(pattern)
        return key if key and not (self.attribute.kind is Kind.PATH and has_query(key)) else None

    def shorter(self, key: str, keys: Collection[str]) -> Iterator[str]:
        return (key[:length] for length in range(len(key) - 1, 0, -1) if key[:length] in keys)

    def inside(self, ask: Ask, key: str) -> Ask | bool:
        values = self.values(ask)
        left = [pattern for pattern in values.others if not _is(pattern, "present")]
        # What begins with the key is longer than any shorter whole value.
        begun = [each for own in self.shorter(key, values.by_key) for each in values.by_key[own] if not _is(each, "exact")]
        begun += values.by_key.get(key, ())
        if len(left) < len(values.others) or any(_is(each, "prefix") for each in begun):
            return not ask.negated
        left += begun
        if ask.negated:
            # They have not been excluded by any longer branch.
            left += [each for own, found in values.by_key.items() if own != key and own.startswith(key) for each in found]
        return Ask(ask.attribute, tuple(left), ask.negated) if left else ask.negated

    def tree(self, branches: dict[str, Matcher.OnMatch]) -> Matcher.MatcherTree:
        return Matcher.MatcherTree(input=input_of(self.attribute), prefix_match_map=Matcher.MatcherTree.MatchMap(map=branches))


def splits_of(attribute: Attribute) -> Iterator[Split]:
    """The ways in which requests can be told apart by `attribute`."""
    if attribute.kind in _EXACT:
        yield ExactSplit(attribute)
    if attribute.kind in _PREFIX:
        yield PrefixSplit(attribute)


def _is(pattern: Pattern, match: Match) -> bool:
    return isinstance(pattern, TextPattern) and pattern.match == match


def _beginning(pattern: TextPattern) -> str:
    """The text with which everything begins that `pattern` means."""
    match pattern.match:
        case "exact" | "prefix":
            return pattern.text
        case "regex":
            return _literal_beginning(pattern.text)
        case _:
            return ""


def _literal_beginning(regex: str) -> str:
    if "|" in regex:
        return ""  # alternatives may begin differently
    taken: list[str] = []
    rest = iter(regex)
    for character in rest:
        if character == "\\":
            escaped = next(rest, "")
            if escaped not in _SPECIAL:
                break  # a class of characters
            taken.append(escaped)
        elif character in "*?{":
            return "".join(taken[:-1])  # the last may be absent
        elif character in _SPECIAL:
            break
        else:
            taken.append(character)
    return "".join(taken)
