"""Rules that allow more than most writers want: everything, everybody, or a value sent twice."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.analysis.clauses import clauses
from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Operation, Rule, Source
from hauberk.api.condition_key import ConditionKind
from hauberk.api.finding import Finding, Location
from hauberk.policy.pattern import parse_text


def check_breadth(policy: AuthorizationPolicy) -> Iterator[Finding]:
    """Broad rules of an ALLOW policy, and gaps in what is to be kept out."""
    yield from _check_joined(policy)
    if policy.spec.action is not Action.ALLOW:
        return
    for index, rule in enumerate(policy.spec.rules):
        at: Location = ("spec", "rules", index)
        if _is_everything(rule):
            yield Finding("HBK0353", at, "this rule allows every request of every caller, with an identity or without")
        elif not rule.when and not rule.from_:
            yield Finding("HBK0354", at, "this rule asks nothing of the caller: whoever reaches the workload may do this")
        elif not rule.when and any(_is_anyone(entry.source) for entry in rule.from_ or ()):
            yield Finding("HBK0354", (*at, "from"), "a * alone means every identity, of federated meshes too")


def _check_joined(policy: AuthorizationPolicy) -> Iterator[Finding]:
    """Values of headers that are to be kept out, and are not if another one stands beside them."""
    keeping_out = {Action.DENY: False, Action.ALLOW: True}.get(policy.spec.action)
    for clause in clauses(policy):
        if clause.asks is ConditionKind.HEADER and clause.negated is keeping_out:
            twice = next((each for each in (f"{value},{value}" for value in clause.values) if not _among(each, clause.values)), None)
            if twice:
                yield Finding("HBK0366", clause.at, f"sent twice, the header is {twice!r}, which is none of these values")


def _among(text: str, values: tuple[str, ...]) -> bool:
    return any(parse_text(value).matches(text) or value == "*" for value in values)


def _is_everything(rule: Rule) -> bool:
    if rule.when or rule.from_:
        return False
    # A star for everything that every request has means nothing less.
    return not rule.to or any(_asks_nothing(entry.operation) for entry in rule.to)


def _asks_nothing(operation: Operation) -> bool:
    plain = Operation(hosts=_less(operation.hosts), methods=_less(operation.methods), paths=_less(operation.paths))
    return plain == Operation() and operation == Operation(hosts=operation.hosts, methods=operation.methods, paths=operation.paths)


def _less(values: tuple[str, ...]) -> tuple[str, ...]:
    return () if "*" in values or "/*" in values else values


def _is_anyone(source: Source) -> bool:
    stars = ("*",)
    wide = (source.principals, source.namespaces, source.trust_domains)
    return any(stars[0] in each for each in wide) and source == Source(
        principals=source.principals, namespaces=source.namespaces, trust_domains=source.trust_domains
    )
