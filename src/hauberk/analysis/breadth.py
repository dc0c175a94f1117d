"""Rules that allow more than most writers want: everything, or everybody."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Operation, Rule, Source
from hauberk.api.finding import Finding, Location


def check_breadth(policy: AuthorizationPolicy) -> Iterator[Finding]:
    """Broad rules of an ALLOW policy."""
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
