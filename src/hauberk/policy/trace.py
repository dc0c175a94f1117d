"""Why policies matched or did not: what an explanation shows of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hauberk.api.authorization_rule import Action
from hauberk.api.metadata import ObjectKey
from hauberk.policy.attribute import Attribute
from hauberk.policy.facts import Facts
from hauberk.policy.identifier import RuleId
from hauberk.policy.matching import first_failed
from hauberk.policy.rule import Alternative, NormalPolicy, NormalRule, Question

Outcome = Literal["matched", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class FailedClause:
    """Why a rule did not match: the field at `path` wants (or excludes, `negated`) `values`, and the request has `actual`."""

    path: str
    values: tuple[str, ...]
    actual: str
    negated: bool
    attribute: Attribute

    def __str__(self) -> str:
        return f"{self.path} is {', '.join(self.values)}; the request has {self.actual or 'none'}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"path": self.path, "excludes" if self.negated else "wants": list(self.values), "actual": self.actual or None}


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """How one rule fared.

    `failed` names a clause for each alternative of `from`, or of `to`, when none of them matched. `dropped`: an ALLOW rule with
    fields of HTTP says nothing about TCP. `widened`: a rule of another action whose HTTP fields were left out for a TCP connection.
    """

    id: RuleId
    outcome: Outcome
    failed: tuple[FailedClause, ...] = ()
    widened: bool = False

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rest = {"widened": True} if self.widened else {}
        return {"rule": self.id.rule, "outcome": self.outcome, "failed": [each.to_json() for each in self.failed], **rest}


@dataclass(frozen=True, slots=True)
class PolicyTrace:
    """How one policy that selects the workload fared."""

    policy: ObjectKey
    action: Action
    rules: tuple[RuleTrace, ...]
    dry_run: bool = False

    @property
    def matched(self) -> bool:
        return any(rule.outcome == "matched" for rule in self.rules)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rules = [rule.to_json() for rule in self.rules]
        name = f"{self.policy.namespace}/{self.policy.name}"
        return {"policy": name, "action": str(self.action), "dryRun": self.dry_run, "matched": self.matched, "rules": rules}


def trace_policy(policy: NormalPolicy, facts: Facts) -> PolicyTrace:
    """How every rule of `policy` fares."""
    rules = tuple(_trace_rule(rule, policy.action, facts) for rule in policy.rules)
    return PolicyTrace(policy.key, policy.action, rules, policy.dry_run)


def _trace_rule(rule: NormalRule, action: Action, facts: Facts) -> RuleTrace:
    asked = rule if facts.request.http else rule.for_connections(action)
    if asked is None:
        return RuleTrace(rule.id, "dropped")
    groups = (asked.sources, asked.operations, (asked.conditions,))
    failed = tuple(clause for group in groups for clause in _failures(group, facts))
    return RuleTrace(rule.id, "failed" if failed else "matched", failed, widened=asked is not rule)


def _failures(alternatives: tuple[Alternative, ...], facts: Facts) -> tuple[FailedClause, ...]:
    """Why none of the alternatives matched; nothing if one did, or if there are none: then everything is meant."""
    failed = [each for each in (first_failed(alternative, facts) for alternative in alternatives) if each is not None]
    return tuple(_clause(each, facts) for each in failed) if len(failed) == len(alternatives) else ()


def _clause(question: Question, facts: Facts) -> FailedClause:
    return FailedClause(question.path, question.values, facts.shown(question.attribute), question.negated, question.attribute)
