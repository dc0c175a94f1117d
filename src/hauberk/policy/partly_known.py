"""What policies say of a request of which not all is known: whether it could be allowed at all."""

from __future__ import annotations

from dataclasses import replace

from hauberk.api.authorization_policy import Action
from hauberk.policy.attribute import Kind
from hauberk.policy.rule import Alternative, NormalPolicy, NormalRule


def in_its_favour(policy: NormalPolicy, unknown: frozenset[Kind]) -> NormalPolicy:
    """`policy` where nothing of `unknown` is held against a request: what it still refuses is refused whatever those are.

    ALLOW is asked without the questions about them; of any other action only that is left which does not depend on them.
    """
    rules = (_rule(rule, policy.action, unknown) for rule in policy.rules)
    return replace(policy, rules=tuple(rule for rule in rules if rule is not None))


def _rule(rule: NormalRule, action: Action, unknown: frozenset[Kind]) -> NormalRule | None:
    if action is Action.ALLOW:
        return rule.without(*unknown)

    def certain(alternative: Alternative) -> bool:
        return all(question.attribute.kind not in unknown for question in alternative)

    sources, operations = tuple(filter(certain, rule.sources)), tuple(filter(certain, rule.operations))
    lost = (rule.sources and not sources) or (rule.operations and not operations) or not certain(rule.conditions)
    return None if lost else replace(rule, sources=sources, operations=operations)
