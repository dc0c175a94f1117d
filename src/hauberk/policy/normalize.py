"""AuthorizationPolicies in their normal form."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hauberk.api.authorization_policy import DRY_RUN, AuthorizationPolicy, Operation, Rule, Source
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.identifier import RuleId
from hauberk.policy.identity import namespace_pattern, principal_patterns, service_account_pattern
from hauberk.policy.pattern import Pattern, PortPattern, parse_text
from hauberk.policy.rule import NormalPolicy, NormalRule, Question
from hauberk.policy.trust_domains import TrustDomains

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_memo: dict[int, tuple[weakref.ref[AuthorizationPolicy], dict[TrustDomains, NormalPolicy]]] = {}


def normalize(policy: AuthorizationPolicy, domains: TrustDomains) -> NormalPolicy:
    """The normal form of `policy`; asked again for the same object it is the same value."""
    known = _memo.get(id(policy))
    if known is None or known[0]() is not policy:
        number = id(policy)
        known = weakref.ref(policy, lambda _: _memo.pop(number, None)), {}
        _memo[number] = known
    forms = known[1]
    if domains not in forms:
        forms[domains] = _normalize(policy, domains)
    return forms[domains]


def _normalize(policy: AuthorizationPolicy, domains: TrustDomains) -> NormalPolicy:
    metadata, spec = policy.metadata, policy.spec
    rules = tuple(
        _rule(RuleId(metadata.namespace, metadata.name, index), rule, metadata.namespace, domains) for index, rule in enumerate(spec.rules)
    )
    return NormalPolicy(policy.key, spec.action, metadata.annotations.get(DRY_RUN) in _TRUE, None, rules)


def _rule(rule_id: RuleId, rule: Rule, namespace: str, domains: TrustDomains) -> NormalRule:
    at = f"spec.rules[{rule_id.rule}]"
    sources = tuple(
        tuple(_source(entry.source, f"{at}.from[{index}].source", namespace, domains)) for index, entry in enumerate(rule.from_ or ())
    )
    operations = tuple(tuple(_operation(entry.operation, f"{at}.to[{index}].operation")) for index, entry in enumerate(rule.to or ()))
    return NormalRule(rule_id, sources, operations, ())


def _source(source: Source, at: str, namespace: str, domains: TrustDomains) -> Iterator[Question]:
    def accounts(value: str) -> tuple[Pattern, ...]:
        return (service_account_pattern(value, namespace, domains),)

    who = Attribute(Kind.IDENTITY)
    for field in (
        _Field("principals", who, source.principals, source.not_principals, lambda value: principal_patterns(value, domains)),
        _Field("namespaces", who, source.namespaces, source.not_namespaces, lambda value: (namespace_pattern(value, domains),)),
        _Field("serviceAccounts", who, source.service_accounts, source.not_service_accounts, accounts),
    ):
        yield from field.questions(at)


def _operation(operation: Operation, at: str) -> Iterator[Question]:
    for field in (
        _Field("ports", Attribute(Kind.PORT), operation.ports, operation.not_ports, lambda value: (PortPattern(int(value)),)),
        _Field("paths", Attribute(Kind.PATH), operation.paths, operation.not_paths, _text),
        _Field("methods", Attribute(Kind.METHOD), operation.methods, operation.not_methods, _text),
        _Field("hosts", Attribute(Kind.HOST), operation.hosts, operation.not_hosts, _host),
    ):
        yield from field.questions(at)


def _text(value: str) -> tuple[Pattern, ...]:
    return (parse_text(value),)


def _host(value: str) -> tuple[Pattern, ...]:
    return (parse_text(value, ignore_case=True),)


@dataclass(frozen=True, slots=True)
class _Field:
    """One field with what it wants, what its negative form excludes, and the meaning of a value."""

    name: str
    attribute: Attribute
    wanted: tuple[str, ...]
    excluded: tuple[str, ...]
    patterns: Callable[[str], tuple[Pattern, ...]]

    def questions(self, at: str) -> Iterator[Question]:
        """A form that is not used asks nothing."""
        if self.wanted:
            yield Question(self.attribute, self._all(self.wanted), False, f"{at}.{self.name}", self.wanted)
        if self.excluded:
            path = f"{at}.not{self.name[0].upper()}{self.name[1:]}"
            yield Question(self.attribute, self._all(self.excluded), True, path, self.excluded)

    def _all(self, values: tuple[str, ...]) -> tuple[Pattern, ...]:
        return tuple(dict.fromkeys(pattern for value in values for pattern in self.patterns(value)))
