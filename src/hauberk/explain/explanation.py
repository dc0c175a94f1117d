"""The answer: a verdict, what decided it, and how every layer and every policy fared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from hauberk.explain.places import SourcePlace

VerdictWord = Literal["allow", "deny"]
Json = dict[str, Any]


class Outcome(StrEnum):
    """What a layer did with the request. `SKIPPED`: an earlier one had refused it. `NONE`: nothing of that layer concerns it."""

    PASS = "pass"  # noqa: S105 - no secret
    DENY = "deny"
    NONE = "none"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. `status`: that of the answer if it refuses a request; None where the connection is refused or closed."""

    name: str
    outcome: Outcome
    because: str
    status: int | None = None

    def to_json(self) -> Json:
        """In the API's shape."""
        return {"name": self.name, "outcome": self.outcome.value, "because": self.because}


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause that did not hold (or of which nobody knows whether it did), in words."""

    path: str
    text: str
    place: SourcePlace | None = None

    def to_json(self) -> Json:
        """In the API's shape."""
        return {"path": self.path, "text": self.text, **_place_json(self.place)}


@dataclass(frozen=True, slots=True)
class RuleLine:
    """How one rule fared; `failed` has the first clause of each alternative that failed, if it did."""

    index: int
    outcome: str  # matched | failed | ignored | unknown
    failed: tuple[Clause, ...] = ()
    note: str = ""
    place: SourcePlace | None = None

    def to_json(self) -> Json:
        """In the API's shape."""
        failed = [each.to_json() for each in self.failed]
        return {"rule": self.index, "outcome": self.outcome, "failed": failed, "note": self.note, **_place_json(self.place)}


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """How one policy that applies fared; `matched` None: what would decide it is not known."""

    policy: str
    action: str
    dry_run: bool
    rules: tuple[RuleLine, ...]
    matched: bool | None
    place: SourcePlace | None = None

    @property
    def first_failed(self) -> Clause | None:
        """Of its rules the first clause that failed."""
        return next((clause for rule in self.rules for clause in rule.failed), None)

    def to_json(self) -> Json:
        """In the API's shape."""
        failed = self.first_failed if not self.matched else None
        return {
            "policy": self.policy,
            "action": self.action,
            "matched": self.matched,
            "failedClause": failed.to_json() if failed else None,
            "dryRun": self.dry_run,
            "rules": [each.to_json() for each in self.rules],
            **_place_json(self.place),
        }


@dataclass(frozen=True, slots=True)
class Decider:
    """The rule that decided: the policy as NAMESPACE/NAME, and the rule's place in it from 0."""

    policy: str
    rule: int
    action: str = ""
    place: SourcePlace | None = None

    def to_json(self) -> Json:
        """In the API's shape, the rule as access records write it."""
        return {"policy": self.policy, "rule": str(self.rule), **_place_json(self.place)}


@dataclass(frozen=True, slots=True)
class Tried:
    """What would be decided without the annotation of the dry-run policies; `reason`: by what, where no rule would."""

    verdict: VerdictWord
    decider: Decider | None
    reason: str = ""

    def to_json(self) -> Json:
        """In the shape of a record's `dryRun`."""
        return {
            "verdict": self.verdict,
            "policy": self.decider.policy if self.decider else None,
            **_rule(self.decider),
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What becomes of the request at workloads that are alike in everything that decides; `unknown`: see `holding`."""

    workloads: tuple[str, ...]
    verdict: VerdictWord | Literal["unknown"]
    status: int | None
    reason: str
    decider: Decider | None
    layers: tuple[Layer, ...]
    policies: tuple[PolicyLine, ...] = ()
    dry_run: Tried | None = None
    audit: tuple[str, ...] = ()
    smallest_change: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """`allow`, `deny`, or `unauthenticated` for a 401: the words of a policy test; or `unknown`."""
        return "unauthenticated" if self.status == 401 else self.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The whole answer; `answers` is more than one where the workloads of a service differ, the strictest first."""

    answers: tuple[Answer, ...]
    route: Json
    warnings: tuple[str, ...] = ()
    objects_at: str = ""  # the time of the objects, where it is not now
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> Answer:
        """The strictest."""
        return self.answers[0]

    @property
    def differs(self) -> bool:
        """A caller may get one answer or another."""
        return len({each.word for each in self.answers}) > 1

    def to_json(self) -> Json:
        """The document of `explain -o json`."""
        first = self.answer
        return {
            "verdict": first.verdict,
            "status": first.status,
            "reason": first.reason,
            "decidedBy": first.decider.to_json() if first.decider else None,
            "layers": [each.to_json() for each in first.layers],
            "policies": [each.to_json() for each in first.policies],
            "route": self.route,
            "smallestChange": list(first.smallest_change),
            "dryRun": first.dry_run.to_json() if first.dry_run else None,
            "audit": list(first.audit),
            "workloads": [_workload_json(each) for each in self.answers],
            "warnings": list(self.warnings),
            **({"objectsAt": self.objects_at} if self.objects_at else {}),
            **self.more,
        }


def _workload_json(answer: Answer) -> Json:
    decided = answer.decider.to_json() if answer.decider else None
    return {
        "pods": list(answer.workloads),
        "verdict": answer.verdict,
        "status": answer.status,
        "reason": answer.reason,
        "decidedBy": decided,
    }


def _rule(decider: Decider | None) -> Json:
    return {"rule": str(decider.rule) if decider else None}


def _place_json(place: SourcePlace | None) -> Json:
    return {"file": place.file, "line": place.line} if place else {}
