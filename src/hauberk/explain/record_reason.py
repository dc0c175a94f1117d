"""What a record says of the decision: which layer refused, by which rule, and why, in the words of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hauberk.explain.explanation import Answer, Decider, PolicyLine
from hauberk.explain.limits import counting, limit_text
from hauberk.explain.question import Question
from hauberk.mesh.external_authorizer import NoAuthorizer, chosen_authorizer, find_authorizers
from hauberk.mesh.inbound import Inbound
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.facts import observe
from hauberk.policy.request import Peer, Request

Record = Mapping[str, Any]
_LIMIT: Final = "rate limit"
_NOBODY_ASKED: Final = "no external authorizer can be asked"
_REFUSALS: Final = (  # beginning of the reason, layer
    ("token refused", "jwt"),
    ("external authorization", "custom"),
    ("the external authorizer", "custom"),
    (_NOBODY_ASKED, "custom"),
    (_LIMIT, "rateLimit"),
    ("no mutual TLS", "mtls"),
    ("TLS handshake", "mtls"),
    ("revoked", "mtls"),
)


def part(record: Record, name: str) -> Mapping[str, Any]:
    """A part of the record; empty if it is not there."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def verdict_of(record: Record) -> str:
    """The decision."""
    return str(part(record, "decision").get("verdict") or "allow")


def refusing_layer(record: Record) -> str | None:
    """The layer that refused; None: none did."""
    if verdict_of(record) != "deny":
        return None
    reason = _told(record)
    return next((layer for beginning, layer in _REFUSALS if reason.startswith(beginning)), "authorization")


def decider_of(record: Record, policies: tuple[PolicyLine, ...] = ()) -> Decider | None:
    """The rule that decided; its action if the policy is one of `policies`."""
    decision = part(record, "decision")
    policy, rule = decision.get("policy"), str(decision.get("rule") or "")
    if not policy or not rule.isdecimal():
        return None
    action = next((each.action for each in policies if each.policy == policy), "")
    return Decider(str(policy), int(rule), action)


def plain_reason(record: Record, decider: Decider | None) -> str:
    """All that the record itself says."""
    told = _told(record)
    if decider is not None:
        action = f" ({decider.action})" if decider.action else ""
        return f"by AuthorizationPolicy {decider.policy}, rule {decider.rule}{action}{f': {told}' if told else ''}"
    status = f", answered with {record['status']}" if record.get("status") else ""
    return told or f"nothing refused it{status}"


class Reasons:
    """What the objects of that time add to it."""

    def __init__(self, record: Record, question: Question, snapshot: MeshSnapshot, inbound: Inbound | None) -> None:
        self._record: Final = record
        self._question: Final = question
        self._snapshot: Final = snapshot
        self._inbound: Final = inbound

    def reason(self, decider: Decider | None) -> str:
        """Why it was let through or refused."""
        told, own = _told(self._record), plain_reason(self._record, decider)
        if told.startswith(_LIMIT):
            return self._limit()
        if told == _NOBODY_ASKED and (why := self._why_nobody()):
            return f"{own.removesuffix(told)}nobody can be asked, so it is denied: {why}"
        return own

    def changes(self, predicted: Answer) -> tuple[str, ...]:
        """What would have turned the verdict."""
        if refusing_layer(self._record) == "rateLimit":
            raised = (f"raise spec.limits[{index}].requests of RateLimitPolicy {policy}" for policy, index, _ in self._counting())
            return (*raised, "call again after the time that `retry-after` tells, and less often")
        return predicted.smallest_change if predicted.verdict == verdict_of(self._record) else ()

    def _why_nobody(self) -> str:
        config, services = self._snapshot.config, self._snapshot.services
        authorizers = find_authorizers(config, services, self._snapshot.settings.cluster_domain)
        chosen = chosen_authorizer(self._inbound.policies if self._inbound else (), authorizers)
        return chosen.why if isinstance(chosen, NoAuthorizer) else ""

    def _limit(self) -> str:
        found = [text for _, _, text in self._counting()]
        if found:
            return f"by {'one of ' if len(found) > 1 else ''}{'; '.join(found)}"
        policy = part(self._record, "decision").get("policy")
        return f"by RateLimitPolicy {policy}" if policy else _LIMIT

    def _counting(self) -> list[tuple[str, int, str]]:
        """The limits that count it by all that is known: policy, place and text of each."""
        asked, inbound = self._question, self._inbound
        if inbound is None:
            return []
        request = Request(port=asked.port or 0, method=asked.method, path=asked.path, host=asked.host)
        facts = observe(request, Peer(asked.source or None, asked.address))
        found = counting((each for each in inbound.limits if not each.dry_run), facts, asked.unknown)
        return [
            (f"{policy.metadata.namespace}/{policy.metadata.name}", policy.spec.limits.index(limit), limit_text(policy, limit))
            for policy, limit in found
        ]


def _told(record: Record) -> str:
    return str(part(record, "decision").get("reason") or "")
