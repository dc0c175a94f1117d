"""The smallest changes, of policies or of the request, that turn a decision. Each is tried before it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from hauberk.api.authorization_rule import Action
from hauberk.policy.change import Change, Edit, requests_meeting, turned, with_question
from hauberk.policy.facts import Facts
from hauberk.policy.matching import first_failed, holds, rule_matches
from hauberk.policy.normalization import normalized_path
from hauberk.policy.rule import NormalPolicy, NormalRule, Question
from hauberk.policy.ruleset import Ruleset

_MOST: Final = 200  # rules that are looked at: those beyond are as far away
_EDITS: Final = 3  # of one change


def smallest_changes(ruleset: Ruleset, facts: Facts, *, allow: bool, most: int = 3) -> tuple[Change, ...]:
    """Up to `most` changes after which the request is allowed, or denied; the smallest first; empty if it already is."""
    if facts.refused or ruleset.judge(facts).allowed is allow:
        return ()
    search = _Search(ruleset, facts, allow)
    found = {str(change): change for change in search.changes()}
    return tuple(sorted(found.values(), key=lambda change: change.rank)[:most])


@dataclass(frozen=True, slots=True)
class _Draft:
    """Policies and a request after some edits."""

    policies: tuple[NormalPolicy, ...]
    facts: Facts
    edits: tuple[Edit, ...] = ()

    def having(self, policy: NormalPolicy, rules: tuple[NormalRule, ...], *edits: Edit) -> _Draft:
        changed = tuple(replace(each, rules=rules) if each.key == policy.key else each for each in self.policies)
        return replace(self, policies=changed, edits=(*self.edits, *edits))


class _Search:
    def __init__(self, ruleset: Ruleset, facts: Facts, allow: bool) -> None:
        self._ruleset = ruleset
        self._facts = facts
        self._allow = allow

    def changes(self) -> Iterator[Change]:
        """What turns the decision."""
        start = _Draft(self._ruleset.policies, self._facts)
        freed = self._freed(start)
        for draft in (*freed, *(last for first in freed for last in self._matched(first))):
            if draft.edits and self._turned(draft):
                yield Change(draft.edits)
        yield from (Change(draft.edits) for draft in self._requests(start) if self._turned(draft))

    def _turned(self, draft: _Draft) -> bool:
        tried = Ruleset(draft.policies, self._ruleset.paths, self._ruleset.providers, self._ruleset.limited)
        return len(draft.edits) <= _EDITS and tried.judge(draft.facts).allowed is self._allow

    @property
    def _hindering(self) -> Action:
        return Action.DENY if self._allow else Action.ALLOW

    @property
    def _helping(self) -> Action:
        return Action.ALLOW if self._allow else Action.DENY

    def _freed(self, start: _Draft) -> list[_Draft]:
        """Nothing stands in the way any more: every rule that did has been made to miss the request, in the least drastic ways."""
        drafts = [start]
        for policy, rule in self._rules(start.policies, self._hindering):
            if rule_matches(rule, self._facts):
                drafts = [free for draft in drafts for free in self._without(draft, policy, rule)][: 4 * _EDITS]
        return drafts

    def _without(self, draft: _Draft, policy: NormalPolicy, rule: NormalRule) -> Iterator[_Draft]:
        current = next(each for each in draft.policies if each.key == policy.key)
        for question in _questions(rule):
            found = turned(question, self._facts, policy.key, holds=False) if holds(question, self._facts) else None
            if found is not None and not rule_matches(changed := with_question(rule, question, found[0]), self._facts):
                yield draft.having(policy, tuple(changed if each is rule else each for each in current.rules), found[1])
        gone = tuple(each for each in current.rules if each is not rule)
        yield draft.having(policy, gone, Edit("removeRule", f"spec.rules[{rule.id.rule}]", "", policy.key))

    def _matched(self, draft: _Draft) -> Iterator[_Draft]:
        """Some rule that would help matches."""
        for policy, rule in self._rules(draft.policies, self._helping):
            changed, edits = rule, []
            for question in _failing(rule, self._facts):
                found = turned(question, self._facts, policy.key, holds=True)
                if found is None:
                    break
                changed = with_question(changed, question, found[0])
                edits.append(found[1])
            else:
                if edits and rule_matches(changed, self._facts):
                    yield draft.having(policy, tuple(changed if each is rule else each for each in policy.rules), *edits)

    def _requests(self, start: _Draft) -> Iterator[_Draft]:
        """Another request, of which one thing is different."""
        plain = normalized_path(self._facts.path or "", "DECODE_AND_MERGE_SLASHES")
        if plain != self._facts.path:
            yield replace(start, facts=replace(self._facts, path=plain), edits=(Edit("request", "path", plain or ""),))
        for _, rule in self._rules(start.policies, self._helping):
            failing = _failing(rule, self._facts)
            if len(failing) == 1:
                for facts, edit in requests_meeting(failing[0], self._facts):
                    yield replace(start, facts=facts, edits=(edit,))

    def _rules(self, policies: Iterable[NormalPolicy], action: Action) -> list[tuple[NormalPolicy, NormalRule]]:
        found = ((policy, rule) for policy in policies if policy.action is action and not policy.dry_run for rule in policy.rules)
        seen = ((policy, rule) for policy, rule in found if self._facts.request.http or not rule.needs_http)
        return sorted(seen, key=lambda each: len(_failing(each[1], self._facts)))[:_MOST]


def _questions(rule: NormalRule) -> Iterator[Question]:
    for alternative in (*rule.sources, *rule.operations, rule.conditions):
        yield from alternative


def _failing(rule: NormalRule, facts: Facts) -> tuple[Question, ...]:
    """The fewest questions that would have to hold as well for the rule to match."""
    found: list[Question] = []
    for group in (rule.sources, rule.operations, (rule.conditions,)):
        if group and all(first_failed(alternative, facts) is not None for alternative in group):
            failing = [[question for question in alternative if not holds(question, facts)] for alternative in group]
            shortest = min(failing, key=len)
            found += shortest
    return tuple(found)
