"""AuthorizationPolicies in their normal form."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.authorization_rule import Condition, Operation, Rule, Source
from hauberk.policy.identifier import RuleId
from hauberk.policy.meaning import OPERATION, SOURCE, Meaning, Setting, meaning_of
from hauberk.policy.rule import Alternative, NormalPolicy, NormalRule, Question
from hauberk.policy.trust_domains import TrustDomains

_memo: dict[int, tuple[weakref.ref[AuthorizationPolicy], dict[TrustDomains, NormalPolicy]]] = {}


def normalize(policy: AuthorizationPolicy, domains: TrustDomains) -> NormalPolicy:
    """The normal form of `policy`; asked again for the same object it is the same value."""
    number = id(policy)
    known = _memo.get(number)
    if known is None or known[0]() is not policy:
        known = weakref.ref(policy, lambda _: _memo.pop(number, None)), {}
        _memo[number] = known
    forms = known[1]
    if domains not in forms:
        forms[domains] = _normalize(policy, Setting(policy.metadata.namespace, domains))
    return forms[domains]


def _normalize(policy: AuthorizationPolicy, setting: Setting) -> NormalPolicy:
    metadata, spec = policy.metadata, policy.spec
    rules = tuple(_rule(RuleId(metadata.namespace, metadata.name, index), rule, setting) for index, rule in enumerate(spec.rules))
    return NormalPolicy(policy.key, spec.action, policy.dry_run, spec.provider.name if spec.provider else None, rules)


def _rule(rule_id: RuleId, rule: Rule, setting: Setting) -> NormalRule:
    at = f"spec.rules[{rule_id.rule}]"
    sources = tuple(_fields(each.source, SOURCE, f"{at}.from[{index}].source", setting) for index, each in enumerate(rule.from_ or ()))
    operations = tuple(
        _fields(each.operation, OPERATION, f"{at}.to[{index}].operation", setting) for index, each in enumerate(rule.to or ())
    )
    conditions = tuple(question for index, each in enumerate(rule.when) for question in _condition(each, f"{at}.when[{index}]", setting))
    return NormalRule(rule_id, sources, operations, conditions)


def _fields(clause: Source | Operation, meanings: Mapping[str, Meaning], at: str, setting: Setting) -> Alternative:
    """The questions of a clause; a field that is not used asks nothing."""
    found: list[Question] = []
    for name, meaning in meanings.items():
        for field, negated in ((name, False), (f"not_{name}", True)):
            values: tuple[str, ...] = getattr(clause, field)
            if values:
                path = f"{at}.{type(clause).model_fields[field].alias}"
                found.append(Question(meaning.attribute, meaning.all(values, setting), negated, path, values))
    return tuple(found)


def _condition(condition: Condition, at: str, setting: Setting) -> Iterator[Question]:
    meaning = meaning_of(condition.parsed)
    for field, values, negated in (("values", condition.values, False), ("notValues", condition.not_values, True)):
        if values:
            yield Question(meaning.attribute, meaning.all(values, setting), negated, f"{at}.{field}", values)
