"""AuthorizationPolicies as Envoy's RBAC rules for HTTP requests.

Principals are matched against the URI of the caller's certificate, so that a caller without one matches none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import path_pb2, regex_pb2, string_pb2

from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Operation, Rule, Source
from hauberk.envoy.name import policy_name
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.identity_pattern import Pattern, namespace_pattern, principal_patterns, service_account_pattern

Permission = rbac_pb2.Permission
Principal = rbac_pb2.Principal


@dataclass(frozen=True, slots=True)
class HttpRules:
    """What is decided for requests: `deny` first, then `allow`; None where no policy has that action."""

    deny: rbac_pb2.RBAC | None
    allow: rbac_pb2.RBAC | None


def http_rules(policies: Sequence[AuthorizationPolicy], domains: TrustDomains) -> HttpRules:
    """The rules of `policies`."""
    return HttpRules(
        _rules(rbac_pb2.RBAC.Action.DENY, [p for p in policies if p.spec.action is Action.DENY], domains),
        _rules(rbac_pb2.RBAC.Action.ALLOW, [p for p in policies if p.spec.action is Action.ALLOW], domains),
    )


def _rules(action: rbac_pb2.RBAC.Action.ValueType, policies: Iterable[AuthorizationPolicy], domains: TrustDomains) -> rbac_pb2.RBAC | None:
    found = list(policies)
    if not found:
        return None
    rules = rbac_pb2.RBAC(action=action)
    for policy in found:
        metadata = policy.metadata
        for index, rule in enumerate(policy.spec.rules):
            name = policy_name(metadata.namespace, metadata.name, index)
            rules.policies[name].CopyFrom(_policy(rule, metadata.namespace, domains))
    # ALLOW without any rule stays as it is: no policy ever matches, so every request is denied.
    return rules


def _policy(rule: Rule, namespace: str, domains: TrustDomains) -> rbac_pb2.Policy:
    permissions = [_operation(entry.operation) for entry in rule.to or ()]
    principals = [_source(entry.source, namespace, domains) for entry in rule.from_ or ()]
    return rbac_pb2.Policy(permissions=permissions or [Permission(any=True)], principals=principals or [Principal(any=True)])


def _operation(operation: Operation) -> Permission:
    # Ports first, then the path: the cheap questions end the rule before headers are looked at.
    fields: tuple[tuple[Callable[[str], Permission], tuple[str, ...], tuple[str, ...]], ...] = (
        (_port, operation.ports, operation.not_ports),
        (_path, operation.paths, operation.not_paths),
        (_method, operation.methods, operation.not_methods),
        (_host, operation.hosts, operation.not_hosts),
    )
    parts: list[Permission] = []
    for make, values, others in fields:
        if values:
            parts.append(_any_permission([make(value) for value in values]))
        if others:
            parts.append(Permission(not_rule=_any_permission([make(value) for value in others])))
    return parts[0] if len(parts) == 1 else Permission(and_rules=Permission.Set(rules=parts or [Permission(any=True)]))


def _any_permission(rules: list[Permission]) -> Permission:
    return rules[0] if len(rules) == 1 else Permission(or_rules=Permission.Set(rules=rules))


def _port(value: str) -> Permission:
    return Permission(destination_port=int(value))


def _path(value: str) -> Permission:
    return Permission(url_path=path_pb2.PathMatcher(path=_text(value)))


def _method(value: str) -> Permission:
    return Permission(header=_header(":method", value))


def _host(value: str) -> Permission:
    return Permission(header=_header(":authority", value, ignore_case=True))


def _header(name: str, value: str, *, ignore_case: bool = False) -> route_components_pb2.HeaderMatcher:
    if value == "*":
        return route_components_pb2.HeaderMatcher(name=name, present_match=True)
    return route_components_pb2.HeaderMatcher(name=name, string_match=_text(value, ignore_case=ignore_case))


def _text(value: str, *, ignore_case: bool = False) -> string_pb2.StringMatcher:
    """Istio's text values: exact, `prefix*`, `*suffix`, and `*` for anything that is not empty."""
    if value == "*":
        return _regex(".+")
    if value.startswith("*"):
        return string_pb2.StringMatcher(suffix=value[1:], ignore_case=ignore_case)
    if value.endswith("*"):
        return string_pb2.StringMatcher(prefix=value[:-1], ignore_case=ignore_case)
    return string_pb2.StringMatcher(exact=value, ignore_case=ignore_case)


def _regex(pattern: str) -> string_pb2.StringMatcher:
    return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=pattern))


def _source(source: Source, namespace: str, domains: TrustDomains) -> Principal:
    parts: list[Principal] = []
    for values, others in source_patterns(source, namespace, domains):
        if values:
            parts.append(_any_principal([_identity(pattern) for pattern in values]))
        if others:
            parts.append(Principal(not_id=_any_principal([_identity(pattern) for pattern in others])))
    return parts[0] if len(parts) == 1 else Principal(and_ids=Principal.Set(ids=parts or [Principal(any=True)]))


def source_patterns(source: Source, namespace: str, domains: TrustDomains) -> tuple[tuple[list[Pattern], list[Pattern]], ...]:
    """For each field of `source` the identities that it names and those that it excludes."""

    def principals(values: Iterable[str]) -> list[Pattern]:
        return [pattern for value in values for pattern in principal_patterns(value, domains)]

    return (
        (principals(source.principals), principals(source.not_principals)),
        ([namespace_pattern(v, domains) for v in source.namespaces], [namespace_pattern(v, domains) for v in source.not_namespaces]),
        (
            [service_account_pattern(v, namespace, domains) for v in source.service_accounts],
            [service_account_pattern(v, namespace, domains) for v in source.not_service_accounts],
        ),
    )


def _any_principal(ids: list[Principal]) -> Principal:
    return ids[0] if len(ids) == 1 else Principal(or_ids=Principal.Set(ids=ids))


def _identity(pattern: Pattern) -> Principal:
    match pattern.kind:
        case "exact":
            matcher = string_pb2.StringMatcher(exact=pattern.text)
        case "prefix":
            matcher = string_pb2.StringMatcher(prefix=pattern.text)
        case "regex":
            matcher = _regex(pattern.text)
    return Principal(authenticated=Principal.Authenticated(principal_name=matcher))
