"""Rate limits: which of them count the request. How full their buckets are, only the sidecars know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hauberk.api.rate_limit_policy import Limit, LimitMatch, RateLimitPolicy
from hauberk.explain.explanation import Layer, Outcome
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.facts import Facts
from hauberk.policy.matching import holds
from hauberk.policy.meaning import OPERATION, Meaning, Setting
from hauberk.policy.pattern import parse_text
from hauberk.policy.rule import Question
from hauberk.policy.trust_domains import TrustDomains

_SETTING = Setting("", TrustDomains())  # nothing that a limit asks depends on whose it is


def limit_layer(limits: tuple[RateLimitPolicy, ...], facts: Facts) -> Layer:
    """The limits that count the request."""
    if not facts.request.http:
        return Layer("rateLimit", Outcome.NONE, "connections of bytes are not counted")
    found = [limit_text(policy, limit) for policy, limit in counting(limits, facts)]
    if not found:
        return Layer("rateLimit", Outcome.NONE, "no limit counts it" if limits else "nothing to ask")
    return Layer("rateLimit", Outcome.PASS, f"counted by {'; '.join(found)}; it is answered with 429 when a bucket is empty")


def counting(
    limits: Iterable[RateLimitPolicy], facts: Facts, unknown: frozenset[Kind] = frozenset()
) -> Iterator[tuple[RateLimitPolicy, Limit]]:
    """The limits that count the request; what they ask about the `unknown` is taken to be so."""
    return ((policy, limit) for policy in limits for limit in policy.spec.limits if _counts(limit.match, facts, unknown))


def limit_text(policy: RateLimitPolicy, limit: Limit) -> str:
    """`RateLimitPolicy shop/orders `writes` (3 in 60 s and instance)`."""
    by = f", a bucket for each {', '.join(limit.by)}" if limit.by else ""
    tried = ", only tried" if policy.dry_run else ""
    per = limit.per.total_seconds()
    named = f"{policy.metadata.namespace}/{policy.metadata.name} `{limit.name}`"
    return f"RateLimitPolicy {named} ({limit.requests} in {per:g} s and instance{by}{tried})"


def _counts(match: LimitMatch, facts: Facts, unknown: frozenset[Kind]) -> bool:
    return all(question.attribute.kind in unknown or holds(question, facts) for question in _questions(match))


def _questions(match: LimitMatch) -> Iterator[Question]:
    for name in ("methods", "paths", "hosts"):
        for field, negated in ((name, False), (f"not_{name}", True)):
            yield from _question(OPERATION[name], getattr(match, field), negated=negated)
    for header in match.headers:
        meaning = Meaning(Attribute(Kind.HEADER, (header.name.lower(),)), lambda value, _: (parse_text(value),))
        yield from _question(meaning, header.values, negated=False)
        yield from _question(meaning, header.not_values, negated=True)


def _question(meaning: Meaning, values: tuple[str, ...], *, negated: bool) -> Iterator[Question]:
    if values:
        yield Question(meaning.attribute, meaning.all(values, _SETTING), negated, "", values)
