"""After the fact: what a record tells of a request, with the objects as they were then.

The record holds who called, what for, and what decided; headers and claims it does not hold. So the verdict and the deciding rule are the
record's, and the trace says of each policy what can be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from hauberk.api.metadata import ObjectKey
from hauberk.explain.explain import LAYERS, explain
from hauberk.explain.explanation import Answer, Decider, Explanation, Layer, Outcome, PolicyLine, RuleLine, Tried
from hauberk.explain.judging import nearest_rule
from hauberk.explain.question import Question, Unanswerable
from hauberk.explain.record_reason import Reasons, Record, decider_of, part, plain_reason, refusing_layer, verdict_of
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.attribute import Kind
from hauberk.policy.identifier import RuleId

UNKNOWN: Final = frozenset({Kind.HEADER, Kind.CLAIM, Kind.REQUEST_PRINCIPAL, Kind.METADATA, Kind.SNI})


@dataclass(frozen=True, slots=True)
class _Called:
    """Who was called: the pod, its own port, and by which service if the record knows."""

    pod: ObjectKey
    own_port: int | None
    service: str  # NAME.NAMESPACE:PORT; empty: none is known
    route: Mapping[str, Any]

    @classmethod
    def of(cls, record: Record, snapshot: MeshSnapshot) -> _Called:
        """The destination of the record: where a service was called, the port that it names is the service's."""
        destination = part(record, "destination")
        pod = ObjectKey("Pod", str(destination.get("namespace") or ""), str(destination.get("pod") or ""))
        port, host = destination.get("port"), str(destination.get("service") or "")
        if not host:
            return cls(pod, port if isinstance(port, int) else None, "", {})
        workload = snapshot.workloads.get(pod)
        service = next((each for each in snapshot.services.values() if each.host == host), None)
        found = next((each for each in service.ports if each.port == port), None) if service else None
        own = found.number_on(workload) if found and workload else port
        name = f"{service.key.name}.{service.key.namespace}" if service else host
        return cls(pod, own, f"{name}:{port}", {"service": name, "host": host, "port": port})


def question_of(record: Record, snapshot: MeshSnapshot) -> Question:
    """What was asked, as far as the record tells; Unanswerable if it does not tell who was called."""
    source, called = part(record, "source"), _Called.of(record, snapshot)
    if not called.pod.name:
        raise Unanswerable(
            "the record does not tell which workload was called",
            "it was outside of the mesh, or has no sidecar: only the sidecar of a destination decides",
        )
    http, host = bool(record.get("method")), called.route.get("host")  # known by the server name of the handshake
    return Question(
        source=str(source.get("identity") or ""),
        address=source.get("address"),
        to=f"pod/{called.pod.name}.{called.pod.namespace}",
        port=called.own_port,
        method=str(record.get("method") or ""),
        path=str(record.get("path") or ("/" if http else "")),
        host=str(record.get("authority") or ""),
        sni=f"outbound_.{called.route['port']}_._.{host}" if host else None,
        unknown=UNKNOWN - {Kind.SNI} if host else UNKNOWN,
    )


def explain_record(snapshot: MeshSnapshot, record: Record) -> Explanation:
    """Why the request that the record is about was let through or refused; `snapshot` is the mesh as it was then."""
    question = question_of(record, snapshot)
    found = explain(snapshot, question)
    called = _Called.of(record, snapshot)
    reasons = Reasons(record, question, snapshot, snapshot.inbound.get(called.pod))
    answer = _as_recorded(_led(found.answer, called, question.port), record, reasons)
    warnings = (*found.warnings, *_doubts(answer, found.answer))
    return replace(found, answers=(answer,), route={**found.route, **called.route}, warnings=warnings, more={"record": dict(record)})


def told_by_record(record: Record) -> Explanation:
    """The same where the objects of that time are not known any more."""
    verdict, decider = verdict_of(record), decider_of(record)
    reason = plain_reason(record, decider)
    layers = tuple(_layer(name, record, reason) for name in LAYERS[2:])
    answer = Answer(
        workloads=(str(part(record, "destination").get("pod") or ""),),
        verdict="deny" if verdict == "deny" else "allow",
        status=record.get("status"),
        reason=reason,
        decider=decider,
        layers=layers,
    )
    return Explanation(answers=(answer,), route={}, more={"record": dict(record)})


def _led(predicted: Answer, called: _Called, port: int | None) -> Answer:
    """With the way that the request came: what was asked about is the pod alone."""
    at = f"port {port} of pod {called.pod.name}" if port else f"pod {called.pod.name}"
    because = f"{called.service} led to {at}" if called.service else f"it came to {at}"
    return replace(predicted, layers=(replace(predicted.layers[0], because=because), *predicted.layers[1:]))


def _as_recorded(predicted: Answer, record: Record, reasons: Reasons) -> Answer:
    decider = decider_of(record, predicted.policies)
    denied = verdict_of(record) == "deny"
    reason = reasons.reason(decider)
    layers = tuple(_layer(each.name, record, reason, each) for each in predicted.layers)
    return replace(
        predicted,
        verdict="deny" if denied else "allow",
        status=record.get("status"),
        reason=_nearest_too(reason, predicted),
        decider=decider,
        layers=layers,
        policies=tuple(_concluded(_matched(each, decider), decider, record) for each in predicted.policies),
        dry_run=_tried(record),
        smallest_change=reasons.changes(predicted),
        audit=tuple(_names(part(record, "decision").get("audit"))),
    )


def _nearest_too(reason: str, predicted: Answer) -> str:
    """Where no rule matched, what came nearest by all that is known."""
    nearest = nearest_rule(predicted.policies) if reason.startswith("no ALLOW rule matched") else ""
    return f"no ALLOW rule matched; nearest is {nearest}" if nearest else reason


def _layer(name: str, record: Record, reason: str, predicted: Layer | None = None) -> Layer:
    """The layer as the record tells of it: which one refused is known, and those before it did not."""
    refusing = refusing_layer(record)
    because = predicted.because if predicted and predicted.outcome in (Outcome.PASS, Outcome.NONE) else "passed"
    if refusing is None or LAYERS.index(name) < LAYERS.index(refusing):
        outcome = Outcome.NONE if predicted and predicted.outcome is Outcome.NONE else Outcome.PASS
        return Layer(name, outcome, because if outcome is Outcome.PASS or predicted is None else predicted.because)
    if name == refusing:
        return Layer(name, Outcome.DENY, reason, record.get("status"))
    return Layer(name, Outcome.SKIPPED, "not reached")


def _matched(line: PolicyLine, decider: Decider | None) -> PolicyLine:
    """The rule that decided has matched, whatever could be found out about it."""
    if decider is None or line.policy != decider.policy:
        return line
    rules = tuple(replace(each, outcome="matched", failed=()) if each.index == decider.rule else each for each in line.rules)
    return replace(line, matched=True, rules=rules)


def _concluded(line: PolicyLine, decider: Decider | None, record: Record) -> PolicyLine:
    """What follows from the verdict for rules of which the record does not hold all: those that would have decided before did not match."""
    if line.dry_run or line.matched is not None or refusing_layer(record) not in (None, "authorization"):
        return line
    rules = tuple(_missed(each) if each.outcome == "unknown" and _came_before(line, each, decider, record) else each for each in line.rules)
    return replace(line, rules=rules, matched=None if any(each.outcome == "unknown" for each in rules) else False)


def _came_before(line: PolicyLine, rule: RuleLine, decider: Decider | None, record: Record) -> bool:
    """The rule would have decided if it had matched: DENY before ALLOW, and those of one action in the order of their names."""
    if line.action not in ("DENY", "ALLOW"):
        return False
    if decider is None or decider.action != line.action:
        return line.action == "DENY" or verdict_of(record) == "deny"
    return str(_rule_id(line.policy, rule.index)) < str(_rule_id(decider.policy, decider.rule))


def _rule_id(policy: str, rule: int) -> RuleId:
    namespace, _, name = policy.partition("/")
    return RuleId(namespace, name, rule)


def _missed(rule: RuleLine) -> RuleLine:
    return replace(rule, outcome="failed", note="it did not match, or it would have decided")


def _doubts(answer: Answer, predicted: Answer) -> list[str]:
    decider = answer.decider
    found: list[str] = []
    if decider is not None and decider.policy not in {each.policy for each in predicted.policies}:
        found.append(f"{decider.policy} decided, and was no policy of the workload at that time: it has just been changed, or deleted")
    if any(each.matched is None for each in answer.policies):
        found.append(
            "the record holds neither headers nor tokens: what depends on them is unknown, the verdict and its rule are the record's"
        )
    return found


def _tried(record: Record) -> Tried | None:
    tried = part(record, "decision").get("dryRun")
    if not isinstance(tried, Mapping):
        return None
    rule = str(tried.get("rule") or "")
    decider = Decider(str(tried["policy"]), int(rule)) if tried.get("policy") and rule.isdecimal() else None
    return Tried("deny" if tried.get("verdict") == "deny" else "allow", decider, str(tried.get("reason") or ""))


def _names(found: Any) -> list[str]:
    given = found if isinstance(found, list) else []
    return [str(each.get("policy")) if isinstance(each, Mapping) else str(each) for each in given]
