"""After the fact: what a record tells of a request, with the objects as they were then.

The record holds who called, what for, and what decided; headers and claims it does not hold. So the verdict and the deciding rule are the
record's, and the trace says of each policy what can be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from hauberk.api.metadata import ObjectKey
from hauberk.explain.explain import explain
from hauberk.explain.explanation import Answer, Decider, Explanation, Layer, Outcome, PolicyLine, RuleLine, Tried
from hauberk.explain.judging import nearest_rule
from hauberk.explain.question import Question, Unanswerable
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.attribute import Kind
from hauberk.policy.identifier import RuleId

Record = Mapping[str, Any]
UNKNOWN: Final = frozenset({Kind.HEADER, Kind.CLAIM, Kind.REQUEST_PRINCIPAL, Kind.METADATA, Kind.SNI})
_REFUSALS: Final = (  # beginning of the reason, layer
    ("token refused", "jwt"),
    ("external authorization", "custom"),
    ("the external authorizer", "custom"),
    ("rate limit", "rateLimit"),
    ("no mutual TLS", "mtls"),
    ("TLS handshake", "mtls"),
    ("revoked", "mtls"),
)


def question_of(record: Record, snapshot: MeshSnapshot) -> Question:
    """What was asked, as far as the record tells; Unanswerable if it does not tell who was called."""
    source, destination = _part(record, "source"), _part(record, "destination")
    namespace, pod = str(destination.get("namespace") or ""), str(destination.get("pod") or "")
    if not pod:
        raise Unanswerable(
            "the record does not tell which workload was called",
            "it was outside of the mesh, or has no sidecar: only the sidecar of a destination decides",
        )
    http, service = bool(record.get("method")), destination.get("service")  # known by the server name of the handshake
    return Question(
        source=str(source.get("identity") or ""),
        address=source.get("address"),
        to=f"pod/{pod}.{namespace}",
        port=_port(destination, ObjectKey("Pod", namespace, pod), snapshot),
        method=str(record.get("method") or ""),
        path=str(record.get("path") or ("/" if http else "")),
        host=str(record.get("authority") or ""),
        sni=f"outbound_.{destination['port']}_._.{service}" if service else None,
        unknown=UNKNOWN - {Kind.SNI} if service else UNKNOWN,
    )


def explain_record(snapshot: MeshSnapshot, record: Record) -> Explanation:
    """Why the request that the record is about was let through or refused; `snapshot` is the mesh as it was then."""
    question = question_of(record, snapshot)
    found = explain(snapshot, question)
    answer = _as_recorded(found.answer, record)
    warnings = [*found.warnings, *_doubts(answer, found.answer, record)]
    return replace(found, answers=(answer,), warnings=tuple(warnings), more={"record": dict(record)})


def told_by_record(record: Record) -> Explanation:
    """The same where the objects of that time are not known any more."""
    verdict, decider = _verdict(record), _decider(record, ())
    layers = tuple(_layer(name, record) for name in ("mtls", "jwt", "custom", "authorization", "rateLimit"))
    answer = Answer(
        workloads=(str(_part(record, "destination").get("pod") or ""),),
        verdict="deny" if verdict == "deny" else "allow",
        status=record.get("status"),
        reason=_reason(record, decider),
        decider=decider,
        layers=layers,
    )
    return Explanation(answers=(answer,), route={}, more={"record": dict(record)})


def _as_recorded(predicted: Answer, record: Record) -> Answer:
    decider = _decider(record, predicted.policies)
    denied = _verdict(record) == "deny"
    layers = tuple(_layer(each.name, record, each) for each in predicted.layers)
    return replace(
        predicted,
        verdict="deny" if denied else "allow",
        status=record.get("status"),
        reason=_nearest_too(_reason(record, decider), predicted),
        decider=decider,
        layers=layers,
        policies=tuple(_concluded(_matched(each, decider), decider, record) for each in predicted.policies),
        dry_run=_tried(record),
        audit=tuple(_names(_part(record, "decision").get("audit"))),
    )


def _nearest_too(reason: str, predicted: Answer) -> str:
    """Where no rule matched, what came nearest by all that is known."""
    nearest = nearest_rule(predicted.policies) if reason.startswith("no ALLOW rule matched") else ""
    return f"no ALLOW rule matched; nearest is {nearest}" if nearest else reason


def _layer(name: str, record: Record, predicted: Layer | None = None) -> Layer:
    """The layer as the record tells of it: which one refused is known, and those before it did not."""
    refusing = _refusing(record)
    names = ("route", "interception", "mtls", "jwt", "custom", "authorization", "rateLimit")
    because = predicted.because if predicted and predicted.outcome in (Outcome.PASS, Outcome.NONE) else "passed"
    if refusing is None or names.index(name) < names.index(refusing):
        outcome = Outcome.NONE if predicted and predicted.outcome is Outcome.NONE else Outcome.PASS
        return Layer(name, outcome, because if outcome is Outcome.PASS or predicted is None else predicted.because)
    if name == refusing:
        return Layer(name, Outcome.DENY, _reason(record, _decider(record, ())), record.get("status"))
    return Layer(name, Outcome.SKIPPED, "not reached")


def _refusing(record: Record) -> str | None:
    if _verdict(record) != "deny":
        return None
    decision = _part(record, "decision")
    reason = str(decision.get("reason") or "")
    return next((layer for beginning, layer in _REFUSALS if reason.startswith(beginning)), "authorization")


def _matched(line: PolicyLine, decider: Decider | None) -> PolicyLine:
    """The rule that decided has matched, whatever could be found out about it."""
    if decider is None or line.policy != decider.policy:
        return line
    rules = tuple(replace(each, outcome="matched", failed=()) if each.index == decider.rule else each for each in line.rules)
    return replace(line, matched=True, rules=rules)


def _concluded(line: PolicyLine, decider: Decider | None, record: Record) -> PolicyLine:
    """What follows from the verdict for rules of which the record does not hold all: those that would have decided before did not match."""
    if line.dry_run or line.matched is not None or _refusing(record) not in (None, "authorization"):
        return line
    rules = tuple(_missed(each) if each.outcome == "unknown" and _came_before(line, each, decider, record) else each for each in line.rules)
    return replace(line, rules=rules, matched=None if any(each.outcome == "unknown" for each in rules) else False)


def _came_before(line: PolicyLine, rule: RuleLine, decider: Decider | None, record: Record) -> bool:
    """The rule would have decided if it had matched: DENY before ALLOW, and those of one action in the order of their names."""
    if line.action not in ("DENY", "ALLOW"):
        return False
    if decider is None or decider.action != line.action:
        return line.action == "DENY" or _verdict(record) == "deny"
    return str(_rule_id(line.policy, rule.index)) < str(_rule_id(decider.policy, decider.rule))


def _rule_id(policy: str, rule: int) -> RuleId:
    namespace, _, name = policy.partition("/")
    return RuleId(namespace, name, rule)


def _missed(rule: RuleLine) -> RuleLine:
    return replace(rule, outcome="failed", note="it did not match, or it would have decided")


def _doubts(answer: Answer, predicted: Answer, record: Record) -> list[str]:
    decider = answer.decider
    found: list[str] = []
    if decider is not None and decider.policy not in {each.policy for each in predicted.policies}:
        found.append(f"{decider.policy} decided, and was no policy of the workload at that time: it has just been changed, or deleted")
    if any(each.matched is None for each in answer.policies):
        found.append(
            "the record holds neither headers nor tokens: what depends on them is unknown, the verdict and its rule are the record's"
        )
    return found


def _reason(record: Record, decider: Decider | None) -> str:
    if decider is not None:
        action = f" ({decider.action})" if decider.action else ""
        return f"by AuthorizationPolicy {decider.policy}, rule {decider.rule}{action}"
    reason = str(_part(record, "decision").get("reason") or "")
    status = f", answered with {record['status']}" if record.get("status") else ""
    return reason or f"nothing refused it{status}"


def _decider(record: Record, policies: tuple[PolicyLine, ...]) -> Decider | None:
    decision = _part(record, "decision")
    policy, rule = decision.get("policy"), str(decision.get("rule") or "")
    if not policy or not rule.isdecimal():
        return None
    action = next((each.action for each in policies if each.policy == policy), "")
    return Decider(str(policy), int(rule), action)


def _tried(record: Record) -> Tried | None:
    tried = _part(record, "decision").get("dryRun")
    if not isinstance(tried, Mapping):
        return None
    rule = str(tried.get("rule") or "")
    decider = Decider(str(tried["policy"]), int(rule)) if tried.get("policy") and rule.isdecimal() else None
    return Tried("deny" if tried.get("verdict") == "deny" else "allow", decider)


def _verdict(record: Record) -> str:
    return str(_part(record, "decision").get("verdict") or "allow")


def _names(found: Any) -> list[str]:
    given = found if isinstance(found, list) else []
    return [str(each.get("policy")) if isinstance(each, Mapping) else str(each) for each in given]


def _port(destination: Mapping[str, Any], pod: ObjectKey, snapshot: MeshSnapshot) -> int | None:
    """The workload's own port: a record names the Service's where one was called."""
    port, host = destination.get("port"), destination.get("service")
    workload = snapshot.workloads.get(pod)
    service = next((each for each in snapshot.services.values() if each.host == host), None) if host else None
    if service is None or workload is None:
        return port if isinstance(port, int) else None
    return next((each.number_on(workload) for each in service.ports if each.port == port), port)


def _part(record: Record, name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
