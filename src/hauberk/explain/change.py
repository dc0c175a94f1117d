"""The smallest changes that would turn a verdict, the nearest first, told with the lines where they would stand."""

from __future__ import annotations

from typing import Final

from hauberk.explain.authorization import Asked
from hauberk.policy.change import Change, Edit
from hauberk.policy.facts import Facts
from hauberk.policy.ruleset import Ruleset
from hauberk.policy.smallest_change import smallest_changes
from hauberk.policy.trace import PolicyTrace
from hauberk.policy.verdict import Verdict

_CHANGES: Final = 3  # that are told
_CONSIDERED: Final = 100
_AWAY: Final = {"claim": 0, "header": 0, "identity": 2}  # of what a request would have to be, how far that is from what it is
_MATCHING: Final = (0, 0)
_TRIED: Final = 40  # policies that a smallest change is looked for in


def changes_of(ruleset: Ruleset, facts: Facts, verdict: Verdict, asked: Asked) -> tuple[str, ...]:
    """What would turn the verdict, with the lines where it would have to be written."""
    # Of what is not known of the request nobody can say what it would have to be.
    if not asked.trace or asked.question.unknown:
        return ()
    near = _nearest_policies(ruleset, verdict)
    found = smallest_changes(near, facts, allow=not verdict.allowed, most=_CONSIDERED)
    # Another request might meet one of the policies that were left out.
    kept = [each for each in found if near is ruleset or all(edit.policy for edit in each.edits)]
    return tuple(", and ".join(_edit(each, asked) for each in change.edits) for change in sorted(kept, key=_size)[:_CHANGES])


def _size(change: Change) -> tuple[int, int, bool]:
    """Of two changes that are as small that of the rule which meant this caller already."""
    distance = max(_AWAY.get(each.path.partition(" ")[0], 1) if each.policy is None else distance_of(each.path) for each in change.edits)
    return change.rank[0], distance, any(each.policy is None for each in change.edits)


def _nearest_policies(ruleset: Ruleset, verdict: Verdict) -> Ruleset:
    """Of many policies those that match and those that nearly do: every change is tried against all that are looked at."""
    if len(ruleset.policies) <= _TRIED:
        return ruleset
    distances = {each.policy: _policy_distance(each) for each in verdict.policies}
    nearest = sorted(ruleset.policies, key=lambda each: distances[each.key])
    matching = sum(distance == _MATCHING for distance in distances.values())
    chosen = {each.key for each in nearest[: max(_TRIED, matching)]}
    return Ruleset((each for each in ruleset.policies if each.key in chosen), ruleset.paths, ruleset.providers, ruleset.limited)


def _policy_distance(trace: PolicyTrace) -> tuple[int, int]:
    """That of its nearest rule."""
    rules = (each for each in trace.rules if each.outcome != "dropped")
    return min(
        ((len(each.failed), max((distance_of(clause.path) for clause in each.failed), default=0)) for each in rules), default=(99, 0)
    )


def _edit(edit: Edit, asked: Asked) -> str:
    place = asked.origins.place(edit.policy, edit.path) if edit.policy else None
    return f"{edit} ({place})" if place else str(edit)


def distance_of(path: str) -> int:
    """How far from the request a rule is that fails there: one about another caller is not meant, one that wants a claim more may be."""
    return next((number for number, part in enumerate((".when[", ".to[", ".from[")) if part in path), 3)
