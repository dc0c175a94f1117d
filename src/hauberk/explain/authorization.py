"""Authorization: what the engine says, in words and with the lines of the files."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.api.metadata import ObjectKey
from hauberk.explain.caller import Caller
from hauberk.explain.destination import Target
from hauberk.explain.explanation import Answer, Clause, Decider, Layer, Outcome, PolicyLine, RuleLine
from hauberk.explain.layers import trust_domains
from hauberk.explain.places import Origins
from hauberk.explain.question import Question
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.clause import FailedClause
from hauberk.policy.decision import PolicyTrace, RuleTrace, decide
from hauberk.policy.identifier import RuleId
from hauberk.policy.request import Peer, Request, Workload


@dataclass(frozen=True, slots=True)
class Asked:
    """The request at one workload, as far as the connection got it."""

    snapshot: MeshSnapshot
    question: Question
    caller: Caller
    target: Target
    identity: str | None
    origins: Origins
    http: bool


def authorize(asked: Asked, pods: tuple[str, ...], before: tuple[Layer, ...]) -> Answer:
    """The answer of the policies, after the layers `before`."""
    inbound, question = asked.target.inbound, asked.question
    assert inbound is not None and asked.target.number is not None
    workload = asked.target.workload
    request = Request(
        port=asked.target.number,
        http=asked.http,
        method=question.method,
        path=question.path,
        host=question.host,
        headers=question.headers,
        sni=question.sni,
        claims=question.claims,
        destination_ip=next(iter(workload.addresses), None),
    )
    verdict = decide(
        request,
        Peer(asked.identity, asked.caller.address),
        Workload(namespace=workload.namespace, labels=workload.labels),
        inbound.policies,
        root_namespace=asked.snapshot.settings.root_namespace,
        domains=trust_domains(asked.snapshot),
    )
    outcome = Outcome.PASS if verdict.allowed else Outcome.DENY
    status = 403 if asked.http and not verdict.allowed else None
    layer = Layer("authorization", outcome, verdict.reason, status)
    nothing = tuple(Layer(name, Outcome.NONE, "nothing to ask") for name in ("jwt", "custom"))
    last = Layer("rateLimit", Outcome.NONE, "nothing to ask") if verdict.allowed else Layer("rateLimit", Outcome.SKIPPED, "not reached")
    return Answer(
        workloads=pods,
        verdict="allow" if verdict.allowed else "deny",
        status=status,
        reason=verdict.reason,
        decider=_decider(verdict.decided_by, verdict.policies, asked.origins),
        layers=(*before, *nothing, layer, last),
        policies=tuple(_policy_line(each, asked.origins) for each in verdict.policies),
    )


def _decider(rule: RuleId | None, policies: tuple[PolicyTrace, ...], origins: Origins) -> Decider | None:
    if rule is None:
        return None
    key = ObjectKey("AuthorizationPolicy", rule.namespace, rule.policy)
    action = next((each.action.value for each in policies if each.policy == key), "")
    return Decider(f"{rule.namespace}/{rule.policy}", rule.rule, action, origins.place(key, f"spec.rules[{rule.rule}]"))


def _policy_line(trace: PolicyTrace, origins: Origins) -> PolicyLine:
    rules = tuple(_rule_line(each, trace.policy, origins) for each in trace.rules)
    name = f"{trace.policy.namespace}/{trace.policy.name}"
    return PolicyLine(name, trace.action.value, False, rules, trace.matched, origins.place(trace.policy))


def _rule_line(trace: RuleTrace, policy: ObjectKey, origins: Origins) -> RuleLine:
    failed = tuple(_clause(each, policy, origins) for each in trace.failed)
    return RuleLine(trace.id.rule, trace.outcome, failed, "", origins.place(policy, f"spec.rules[{trace.id.rule}]"))


def _clause(failed: FailedClause, policy: ObjectKey, origins: Origins) -> Clause:
    return Clause(failed.path, str(failed), origins.place(policy, failed.path))
