"""Tokens of end users: asked for where nobody verifies them, verified where nobody asks, verified by two objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hauberk.analysis.clauses import clauses
from hauberk.analysis.ports import check_undeclared
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.condition_key import ConditionKind
from hauberk.api.finding import Finding, Location
from hauberk.api.rate_limit import Limit
from hauberk.api.rate_limit_key import BucketKind
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.api.selector import has_labels
from hauberk.mesh.protocol import Protocol
from hauberk.policy.pattern import parse_text


def check_asked(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    """Tokens that the policy asks for and nobody verifies, or not of this issuer."""
    asked = [clause for clause in clauses(policy) if clause.of_token]
    if not asked:
        return
    issuers = _issuers(world, policy)
    told: set[Location] = set()
    for clause in asked:
        if not issuers and clause.at[:-1] not in told:
            told.add(clause.at[:-1])
            message = "no RequestAuthentication concerns the selected workloads, so no request has a token there"
            yield Finding("HBK0349", clause.at, message)
        elif issuers and clause.asks is ConditionKind.REQUEST_PRINCIPAL:
            for index, value in enumerate(clause.values):
                issuer = value.rpartition("/")[0]
                if issuer and issuer != "*" and not any(parse_text(issuer).matches(each) or not each for each in issuers):
                    message = f"no RequestAuthentication of the selected workloads verifies tokens of {issuer!r}"
                    yield Finding("HBK0349", (*clause.at, index), f"{message}; known are {', '.join(sorted(issuers))}")


def check_limits(at: Location, limits: Iterable[Limit], issuers: frozenset[str]) -> Iterator[Finding]:
    """Limits by what is in tokens, where nobody verifies any."""
    for index, limit in enumerate(limits):
        for number, key in enumerate(limit.buckets):
            if key.kind in (BucketKind.CLAIM, BucketKind.REQUEST_PRINCIPAL) and not issuers:
                message = "no RequestAuthentication concerns the selected workloads, so all requests share one count here"
                yield Finding("HBK0349", (*at, index, "by", number), message)


def _issuers(world: World, policy: AuthorizationPolicy) -> frozenset[str]:
    """The issuers whose tokens somebody verifies for what the policy selects; where nothing is known of that, for anybody in its scope."""
    selected = world.selected(policy)
    if selected.carriers:
        return selected.issuers
    spaces = {policy.metadata.namespace, world.root_namespace}
    everywhere = policy.metadata.namespace == world.root_namespace
    return frozenset(
        rule.issuer
        for each in world.of(RequestAuthentication)
        if not each.spec.targets and (everywhere or each.metadata.namespace in spaces)
        for rule in each.spec.jwt_rules
    )


def check_authentication(found: RequestAuthentication, world: World) -> Iterator[Finding]:
    """Issuers that another object verifies too, and tokens that no policy asks for."""
    others = [each for each in world.selected(found).authentications if each.key != found.key]
    for index, rule in enumerate(found.spec.jwt_rules):
        doubled = sorted(each.key for each in others if any(rule.issuer == one.issuer for one in each.spec.jwt_rules))
        if doubled:
            names = ", ".join(f"{key.namespace}/{key.name}" for key in doubled)
            message = f"{names} verifies tokens of {rule.issuer!r} for the same workloads: a token passes if either accepts it"
            yield Finding("HBK0352", ("spec", "jwtRules", index, "issuer"), message)
    ports = world.selected(found).ports
    if found.spec.jwt_rules:
        yield from check_undeclared(("spec",), ports, "a bad token passes")
    if ports and all(each and all(speaks is Protocol.TCP for speaks in each.values()) for each in ports):
        yield Finding("HBK0348", ("spec",), "the selected workloads speak no HTTP, so there are no tokens to verify")
    elif found.spec.jwt_rules and not _is_asked(found, world):
        message = "no AuthorizationPolicy asks for a token at these workloads, so a request without one passes"
        yield Finding("HBK0359", ("spec",), message)


def _is_asked(found: RequestAuthentication, world: World) -> bool:
    labels = found.spec.selector.match_labels
    spaces = {found.metadata.namespace, world.root_namespace}
    everywhere = found.metadata.namespace == world.root_namespace
    for namespace, policies in world.policies_of.items():
        if not everywhere and namespace not in spaces:
            continue
        for policy in policies:
            wanted = policy.spec.selector.match_labels
            related = has_labels(labels, wanted) or has_labels(wanted, labels)
            if related and any(clause.of_token for clause in clauses(policy)):
                return True
    return False
