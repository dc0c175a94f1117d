"""Which values mean which others: every text, address or port that one pattern means, another means too.

Both questions are answered safely: no means that it is not so, or that it cannot be seen from the patterns alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from hauberk.policy.attribute import Kind
from hauberk.policy.host import speaks_of_port
from hauberk.policy.pattern import AddressPattern, ListPattern, Pattern, PortPattern, RequestPrincipalPattern, TextPattern
from hauberk.policy.rule import Question

# Of these there may be several values at once, so two different ones do not exclude each other.
_SEVERAL = frozenset({Kind.CLAIM, Kind.METADATA})


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Everything that `narrow` means, `wide` means."""
    match wide, narrow:
        case TextPattern(), TextPattern():
            return wide == narrow or (not _is_narrower_in_case(wide, narrow) and _text_covers(wide, narrow))
        case AddressPattern(), AddressPattern():
            one, other = narrow.network, wide.network
            return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type] # of one version, as just asked
        case RequestPrincipalPattern(), RequestPrincipalPattern():
            return covers(wide.issuer, narrow.issuer) and covers(wide.subject, narrow.subject)
        case ListPattern(), ListPattern():
            return covers(wide.text, narrow.text)
        case _:
            return wide == narrow


def _text_covers(wide: TextPattern, narrow: TextPattern) -> bool:
    text, wanted = (narrow.text.lower(), wide.text.lower()) if wide.ignore_case else (narrow.text, wide.text)
    match wide.match, narrow.match:
        case "present", _:
            return narrow.match == "present" or _is_never_empty(narrow)
        case _, "exact":
            return wide.matches(narrow.text)
        case "prefix", "prefix":
            return text.startswith(wanted)
        case "regex", "prefix":
            # What ends with "anything" and matches the beginning alone matches every continuation.
            return wide.text.endswith("/.*") and wide.matches(narrow.text)
        case "suffix", "suffix":
            return text.endswith(wanted)
        case _:
            return False


def _is_narrower_in_case(wide: TextPattern, narrow: TextPattern) -> bool:
    return narrow.ignore_case and not wide.ignore_case and narrow.text.lower() != narrow.text.upper()


def _is_never_empty(pattern: TextPattern) -> bool:
    # A regex of ours that names something never means the empty text.
    return "/" in pattern.text if pattern.match == "regex" else pattern.text != ""


def excludes(one: Pattern, other: Pattern) -> bool:
    """Nothing is meant by both."""
    match one, other:
        case TextPattern(), TextPattern():
            return _text_excludes(one, other)
        case AddressPattern(), AddressPattern():
            return one.network.version != other.network.version or not one.network.overlaps(other.network)
        case PortPattern(), PortPattern():
            return one.number != other.number
        case RequestPrincipalPattern(), RequestPrincipalPattern():
            return excludes(one.issuer, other.issuer) or excludes(one.subject, other.subject)
        case _:
            return False


def _text_excludes(one: TextPattern, other: TextPattern) -> bool:
    if one.match == "exact" and (not one.ignore_case or other.ignore_case):
        return not other.matches(one.text)
    if other.match == "exact" and (not other.ignore_case or one.ignore_case):
        return not one.matches(other.text)
    first, second = one.text, other.text
    if one.ignore_case or other.ignore_case:
        first, second = first.lower(), second.lower()
    if one.match == other.match == "prefix":
        return not first.startswith(second) and not second.startswith(first)
    if one.match == other.match == "suffix":
        return not first.endswith(second) and not second.endswith(first)
    return False


@dataclass(frozen=True, slots=True)
class PatternSet:
    """The patterns of one question; a thousand exact texts are looked up, and only the others are tried."""

    exact: frozenset[str]
    others: tuple[Pattern, ...]

    def covers(self, narrow: Pattern) -> bool:
        """One of the patterns covers `narrow`."""
        if isinstance(narrow, TextPattern) and narrow.match == "exact" and not narrow.ignore_case and narrow.text in self.exact:
            return True
        return any(covers(each, narrow) for each in self.others)


@lru_cache(maxsize=16384)
def pattern_set(patterns: tuple[Pattern, ...]) -> PatternSet:
    """`patterns`, ready to be asked."""
    exact = {each: each.text for each in patterns if isinstance(each, TextPattern) and each.match == "exact" and not each.ignore_case}
    return PatternSet(frozenset(exact.values()), tuple(each for each in patterns if each not in exact))


def implies(narrow: Question, wide: Question) -> bool:
    """Whenever `narrow` holds, `wide` holds."""
    if narrow.attribute != wide.attribute:
        return False
    if not _are_alike(narrow, wide):
        first, second = (wide, narrow) if wide.negated else (narrow, wide)
        return narrow.negated is wide.negated and set(first.patterns) <= set(second.patterns)
    if narrow.negated:
        return wide.negated and all(map(pattern_set(narrow.patterns).covers, wide.patterns))
    if not wide.negated:
        return all(map(pattern_set(wide.patterns).covers, narrow.patterns))
    if narrow.attribute.kind in _SEVERAL or len(narrow.patterns) * len(wide.patterns) > 10_000:
        return False
    return all(excludes(one, other) for one in narrow.patterns for other in wide.patterns)


def contradict(questions: Iterable[Question]) -> tuple[Question, Question] | None:
    """Two of the questions that never hold together."""
    by_attribute: dict[object, list[Question]] = {}
    for question in questions:
        known = by_attribute.setdefault(question.attribute, [])
        for other in known:
            if _exclude(question, other):
                return other, question
        known.append(question)
    return None


def _exclude(one: Question, other: Question) -> bool:
    if (one.negated and other.negated) or not _are_alike(one, other):
        return False
    if one.negated or other.negated:
        positive, negative = (other, one) if one.negated else (one, other)
        return all(map(pattern_set(negative.patterns).covers, positive.patterns))
    if one.attribute.kind in _SEVERAL or len(one.patterns) * len(other.patterns) > 10_000:
        return False
    return all(excludes(first, second) for first in one.patterns for second in other.patterns)


def _are_alike(one: Question, other: Question) -> bool:
    """Both are held against the same text: of a host, values without a port are compared without it."""
    if one.attribute.kind is not Kind.HOST:
        return True
    return len({speaks_of_port(each) for each in (*one.patterns, *other.patterns) if isinstance(each, TextPattern)}) <= 1
