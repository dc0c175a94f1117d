"""Allow or deny, and why: the one engine that explanations and offline tests ask and the Envoy translation is tested against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Rule
from hauberk.api.metadata import ObjectKey
from hauberk.policy.clause import FailedClause, needs_http, operation_failure, source_failure
from hauberk.policy.identifier import RuleId
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.trust_domains import TrustDomains

ROOT_NAMESPACE = "istio-system"
Outcome = Literal["matched", "failed", "dropped"]
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_UNFEDERATED = TrustDomains()


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """How one rule fared.

    `failed` names a clause for each alternative of `from`, or of `to`, when none of them matched. `dropped`: an ALLOW rule with
    fields of HTTP says nothing about TCP. `widened`: a DENY rule whose HTTP fields were left out for a TCP connection.
    """

    id: RuleId
    outcome: Outcome
    failed: tuple[FailedClause, ...] = ()
    widened: bool = False


@dataclass(frozen=True, slots=True)
class PolicyTrace:
    """How one policy that selects the workload fared."""

    policy: ObjectKey
    action: Action
    rules: tuple[RuleTrace, ...]

    @property
    def matched(self) -> bool:
        return any(rule.outcome == "matched" for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision; `decided_by` is None when no rule matched (and the reason says what follows from that)."""

    allowed: bool
    reason: str
    decided_by: RuleId | None
    policies: tuple[PolicyTrace, ...]

    @property
    def envoy_detail(self) -> str | None:
        """What Envoy's access log says of the denial."""
        return None if self.allowed else f"rbac_access_denied_matched_policy[{self.decided_by or 'none'}]"


def decide(
    request: Request,
    peer: Peer,
    workload: Workload,
    policies: Iterable[AuthorizationPolicy],
    *,
    root_namespace: str = ROOT_NAMESPACE,
    domains: TrustDomains = _UNFEDERATED,
) -> Verdict:
    """Istio's order: a matching DENY denies; without any ALLOW policy all else is allowed; then a matching ALLOW is needed."""
    asked = _Asked(request, peer, domains)
    traces = tuple(_trace(policy, asked) for policy in select_policies(workload, policies, root_namespace=root_namespace))
    denied = _matching(traces, Action.DENY)
    if denied:
        return Verdict(False, f"denied by {denied}", denied, traces)
    if not any(trace.action is Action.ALLOW for trace in traces):
        return Verdict(True, "no ALLOW policy selects the workload", None, traces)
    allowed = _matching(traces, Action.ALLOW)
    if allowed:
        return Verdict(True, f"allowed by {allowed}", allowed, traces)
    return Verdict(False, "ALLOW policies select the workload and none of their rules matches", None, traces)


def select_policies(
    workload: Workload, policies: Iterable[AuthorizationPolicy], *, root_namespace: str = ROOT_NAMESPACE
) -> tuple[AuthorizationPolicy, ...]:
    """Policies of the workload's and of the root namespace whose selector matches it, oldest first."""
    scopes = (workload.namespace, root_namespace)
    chosen = [each for each in policies if each.metadata.namespace in scopes and each.spec.selector.matches(workload.labels)]
    return tuple(sorted(chosen, key=_age))


def _age(policy: AuthorizationPolicy) -> tuple[datetime, str, str]:
    metadata = policy.metadata
    return metadata.creation_timestamp or _BEGINNING, metadata.name, metadata.namespace


def _matching(traces: tuple[PolicyTrace, ...], action: Action) -> RuleId | None:
    """The rule that Envoy names: it asks its policies in the order of their names as texts."""
    matched = [rule.id for trace in traces if trace.action is action for rule in trace.rules if rule.outcome == "matched"]
    return min(matched, key=str, default=None)


@dataclass(frozen=True, slots=True)
class _Asked:
    request: Request
    peer: Peer
    domains: TrustDomains


def _trace(policy: AuthorizationPolicy, asked: _Asked) -> PolicyTrace:
    rules = tuple(_trace_rule(policy, index, rule, asked) for index, rule in enumerate(policy.spec.rules))
    return PolicyTrace(policy.key, policy.spec.action, rules)


def _trace_rule(policy: AuthorizationPolicy, index: int, rule: Rule, asked: _Asked) -> RuleTrace:
    namespace, request = policy.metadata.namespace, asked.request
    rule_id = RuleId(namespace, policy.metadata.name, index)
    blind = not request.http and needs_http(rule)
    if blind and policy.spec.action is Action.ALLOW:
        return RuleTrace(rule_id, "dropped")
    at = f"spec.rules[{index}]"
    sources = [
        source_failure(entry.source, asked.peer, namespace, f"{at}.from[{number}].source", asked.domains)
        for number, entry in enumerate(rule.from_ or ())
    ]
    operations = [operation_failure(entry.operation, request, f"{at}.to[{number}].operation") for number, entry in enumerate(rule.to or ())]
    failed = _failures(sources) + _failures(operations)
    return RuleTrace(rule_id, "failed" if failed else "matched", failed, widened=blind)


def _failures(alternatives: list[FailedClause | None]) -> tuple[FailedClause, ...]:
    """Why none of the alternatives matched; nothing if one did, or if there are none: then everything is meant."""
    failed = tuple(each for each in alternatives if each is not None)
    return failed if len(failed) == len(alternatives) else ()
