"""The layers of policy: the external service, the token, authorization and rate limits, with all that is to be said about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hauberk.api.authorization_rule import Action
from hauberk.explain.authorization import Asked, decider_of, partly_known_lines, policy_lines
from hauberk.explain.change import changes_of, distance_of
from hauberk.explain.explanation import Answer, Layer, Outcome, PolicyLine, Tried
from hauberk.explain.limits import limit_layer
from hauberk.explain.token import token_layer
from hauberk.mesh.external_authorizer import Authorizer, NoAuthorizer, chosen_authorizer
from hauberk.policy.facts import Facts, observe
from hauberk.policy.identifier import RuleId
from hauberk.policy.ruleset import Ruleset
from hauberk.policy.verdict import NO_ALLOW_MATCHED, NO_PROVIDER, Verdict

_MORE_THAN_A_VERDICT: Final = frozenset({Action.CUSTOM, Action.AUDIT})


def asks_unknown_address(asked: Asked) -> bool:
    """Some policy of the workload is about an address that nobody has told."""
    assert asked.target.inbound is not None
    return bool(asked.unknown_addresses & asked.rulesets.of(asked.target.inbound).addresses)


def ruleset_of(asked: Asked) -> Ruleset:
    """The policies of the workload, ready to be asked."""
    assert asked.target.inbound is not None
    return asked.rulesets.of(asked.target.inbound).ruleset


def judge(asked: Asked, pods: tuple[str, ...], before: tuple[Layer, ...]) -> Answer:
    """The answer of everything that the sidecar at the end asks, after the layers `before`."""
    assert asked.target.inbound is not None
    token, claims = token_layer(asked)
    verdict = _verdict(asked, claims)
    whom = chosen_authorizer(asked.target.inbound.policies, asked.rulesets.authorizers) if verdict.custom else None
    custom = _custom(verdict, whom)
    # An external service is asked before the token is looked at, and whom nobody can ask about is refused there too.
    if custom.outcome is not Outcome.DENY and token.outcome is Outcome.DENY:
        layers = (*before, custom, token, *_not_reached("authorization", "rateLimit"))
        reason = _if_agreed(token.because, whom, allowed=False)
        return Answer(workloads=pods, verdict="deny", status=token.status, reason=reason, decider=None, layers=layers)
    policies = _lines(asked, verdict, claims)
    own = _reason(verdict, policies)
    after = (token, _authorization(verdict, own, http=asked.http))
    reached = _not_reached("jwt", "authorization") if custom.outcome is Outcome.DENY else after
    last = limit_layer(asked.target.inbound.limits, _facts(asked, claims)) if verdict.allowed else _not_reached("rateLimit")[0]
    return Answer(
        workloads=pods,
        verdict="allow" if verdict.allowed else "deny",
        status=verdict.status if asked.http else None,
        reason=custom.because if custom.outcome is Outcome.DENY else _if_agreed(own, whom, allowed=verdict.allowed),
        decider=decider_of(verdict.decided_by, verdict.policies, asked.origins),
        layers=(*before, custom, *reached, last),
        policies=policies,
        dry_run=_tried(verdict, asked),
        smallest_change=changes_of(ruleset_of(asked), _facts(asked, claims), verdict, asked),
        audit=tuple(dict.fromkeys(f"{each.namespace}/{each.policy}" for each in verdict.audited)),
    )


def _if_agreed(reason: str, whom: Authorizer | NoAuthorizer | None, *, allowed: bool) -> str:
    """The reason where an external service is asked first, and has the last word if it refuses."""
    if not isinstance(whom, Authorizer):
        return reason
    if allowed:
        return f"if the external service {whom.name} agrees; {reason}"
    return f"{reason} (if the external service {whom.name}, which is asked before, refuses, its answer is the caller's)"


def _verdict(asked: Asked, claims: Mapping[str, Any] | None) -> Verdict:
    assert asked.target.inbound is not None
    policies, facts = asked.target.inbound.policies, _facts(asked, claims)
    ruleset = ruleset_of(asked)
    # A thousand policies are asked in no time, and to say of each rule why it does not match takes a hundred times as long.
    if asked.trace or any(each.dry_run or each.spec.action in _MORE_THAN_A_VERDICT for each in policies):
        return ruleset.verdict(facts)
    return Verdict(ruleset.judge(facts), ())


def _facts(asked: Asked, claims: Mapping[str, Any] | None) -> Facts:
    return observe(asked.request(claims), asked.peer, ruleset_of(asked).paths.level)


def _lines(asked: Asked, verdict: Verdict, claims: Mapping[str, Any] | None) -> tuple[PolicyLine, ...]:
    if not asked.question.unknown:
        return policy_lines(verdict.policies, asked.origins)
    return partly_known_lines(asked.normal_policies, _facts(asked, claims), asked.question.unknown, asked.origins)


def _reason(verdict: Verdict, policies: tuple[PolicyLine, ...]) -> str:
    """What the rules decided, in one sentence; where nothing matched, what came nearest."""
    judgement = verdict.judgement
    if judgement.rule is not None:
        return f"by {_named(judgement.rule)} ({'ALLOW' if judgement.allowed else 'DENY'})"
    if judgement.name == NO_ALLOW_MATCHED:
        nearest = nearest_rule(policies)
        return f"no ALLOW rule matches; nearest is {nearest}" if nearest else "no ALLOW rule matches"
    return judgement.reason


def _named(rule: RuleId) -> str:
    return f"AuthorizationPolicy {rule.namespace}/{rule.policy}, rule {rule.rule}"


def nearest_rule(policies: tuple[PolicyLine, ...]) -> str:
    """The ALLOW rule of which the fewest clauses failed, and the first of them."""
    rules = [
        (policy, rule) for policy in policies if policy.action == "ALLOW" and not policy.dry_run for rule in policy.rules if rule.failed
    ]
    if not rules:
        return ""
    policy, rule = min(rules, key=lambda each: (len(each[1].failed), max(distance_of(clause.path) for clause in each[1].failed)))
    return f"AuthorizationPolicy {policy.policy}, rule {rule.index}: {rule.failed[0].text}"


def _custom(verdict: Verdict, whom: Authorizer | NoAuthorizer | None) -> Layer:
    rule = verdict.custom
    if rule is None:
        return Layer("custom", Outcome.NONE, "no CUSTOM policy matches")
    if verdict.judgement.name == NO_PROVIDER:
        why = whom.why if isinstance(whom, NoAuthorizer) else "no external service is asked about a connection of bytes"
        return Layer("custom", Outcome.DENY, f"by {_named(rule)} (CUSTOM): nobody can be asked, so it is denied: {why}", verdict.status)
    asked = f"the external service {whom.name}" if isinstance(whom, Authorizer) else "an external service"
    return Layer("custom", Outcome.UNKNOWN, f"{_named(rule)} asks {asked}, and what it answers is not known here")


def _authorization(verdict: Verdict, reason: str, *, http: bool) -> Layer:
    if verdict.allowed:
        return Layer("authorization", Outcome.PASS, reason)
    short = "no ALLOW rule matches" if verdict.judgement.name == NO_ALLOW_MATCHED else reason
    return Layer("authorization", Outcome.DENY, short if http else f"{short}: the connection is closed", verdict.status if http else None)


def _tried(verdict: Verdict, asked: Asked) -> Tried | None:
    tried = verdict.dry_run
    if tried is None:
        return None
    decider = decider_of(tried.rule, verdict.policies, asked.origins)
    return Tried("allow" if tried.allowed else "deny", decider, "" if decider else tried.reason)


def _not_reached(*names: str) -> tuple[Layer, ...]:
    return tuple(Layer(name, Outcome.SKIPPED, "not reached") for name in names)
