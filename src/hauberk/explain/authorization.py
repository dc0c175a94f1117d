"""Authorization: what the engine says, in words and with the lines of the files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hauberk.api.metadata import ObjectKey
from hauberk.explain.caller import Caller
from hauberk.explain.destination import Target
from hauberk.explain.explanation import Clause, Decider, PolicyLine, RuleLine
from hauberk.explain.imagine import known_address
from hauberk.explain.layers import trust_domains
from hauberk.explain.places import Origins
from hauberk.explain.question import Question
from hauberk.explain.rulesets import Rulesets, questions_about
from hauberk.explain.wording import clause_text, unknown_text
from hauberk.policy.attribute import Kind
from hauberk.policy.facts import Facts
from hauberk.policy.identifier import RuleId
from hauberk.policy.normalize import normalize
from hauberk.policy.request import Peer, Request
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.rule import Question as Asking
from hauberk.policy.trace import FailedClause, PolicyTrace, RuleTrace, trace_policy

_NOTES = {"dropped": "asks about HTTP, and this is a connection of bytes: an ALLOW rule then matches nothing"}
_WIDENED = "what it asks about HTTP is left out: this is a connection of bytes"


@dataclass(frozen=True, slots=True)
class Asked:
    """The request at one workload, as far as the connection got it."""

    rulesets: Rulesets
    question: Question
    caller: Caller
    target: Target
    identity: str | None
    origins: Origins
    http: bool
    now: datetime
    trace: bool  # how every rule fared is asked for, not the verdict alone

    @property
    def peer(self) -> Peer:
        """The caller, as policies see it."""
        return Peer(self.identity, self.caller.address)

    def request(self, claims: object = None) -> Request:
        """The request, with the claims of its verified token."""
        question = self.question
        assert self.target.number is not None
        return Request(
            port=self.target.number,
            http=self.http,
            method=question.method,
            path=question.path,
            host=question.host,
            headers=question.headers,
            sni=question.sni,
            claims=claims if isinstance(claims, dict) else None,
            destination_ip=known_address(self.target.workload.addresses),
        )

    @property
    def unknown_addresses(self) -> frozenset[Kind]:
        """Those that nobody has told."""
        caller, own = self.caller.address, known_address(self.target.workload.addresses)
        known = {Kind.DIRECT_IP: caller, Kind.REMOTE_IP: caller, Kind.DESTINATION_IP: own}
        return frozenset(kind for kind, address in known.items() if address is None)

    @property
    def normal_policies(self) -> tuple[NormalPolicy, ...]:
        """The policies of the workload, as the engine reads them."""
        assert self.target.inbound is not None
        domains = trust_domains(self.rulesets.snapshot)
        return tuple(normalize(each, domains) for each in self.target.inbound.policies)


def decider_of(rule: RuleId | None, policies: Iterable[PolicyTrace], origins: Origins) -> Decider | None:
    """The rule that decided, with its line."""
    if rule is None:
        return None
    key = ObjectKey("AuthorizationPolicy", rule.namespace, rule.policy)
    action = next((each.action.value for each in policies if each.policy == key), "")
    return Decider(f"{rule.namespace}/{rule.policy}", rule.rule, action, origins.place(key, f"spec.rules[{rule.rule}]"))


def policy_lines(traces: Iterable[PolicyTrace], origins: Origins) -> tuple[PolicyLine, ...]:
    """How every policy fared, where everything about the request is known."""
    return tuple(_policy_line(each, tuple(_rule_line(rule, each.policy, origins) for rule in each.rules), origins) for each in traces)


def partly_known_lines(
    policies: Iterable[NormalPolicy], facts: Facts, unknown: frozenset[Kind], origins: Origins
) -> tuple[PolicyLine, ...]:
    """The same where some of it is not: a rule of which only such questions are left may have matched, and nobody knows."""
    return tuple(_partly_known(each, facts, unknown, origins) for each in policies)


def _partly_known(policy: NormalPolicy, facts: Facts, unknown: frozenset[Kind], origins: Origins) -> PolicyLine:
    bare = replace(policy, rules=tuple(rule.without(*unknown) for rule in policy.rules))
    trace = trace_policy(bare, facts)
    rules = tuple(
        _uncertain(each, found, policy.key, origins)
        if each.outcome == "matched" and (found := questions_about(rule, unknown))
        else _rule_line(each, policy.key, origins)
        for rule, each in zip(policy.rules, trace.rules, strict=True)
    )
    return _policy_line(trace, rules, origins)


def _uncertain(trace: RuleTrace, asked: tuple[Asking, ...], policy: ObjectKey, origins: Origins) -> RuleLine:
    clauses = tuple(Clause(each.path, unknown_text(each), origins.place(policy, each.path)) for each in asked)
    return RuleLine(trace.id.rule, "unknown", clauses, "", origins.place(policy, f"spec.rules[{trace.id.rule}]"))


def _policy_line(trace: PolicyTrace, rules: tuple[RuleLine, ...], origins: Origins) -> PolicyLine:
    outcomes = {each.outcome for each in rules}
    matched = True if "matched" in outcomes else None if "unknown" in outcomes else False
    name = f"{trace.policy.namespace}/{trace.policy.name}"
    return PolicyLine(name, trace.action.value, trace.dry_run, rules, matched, origins.place(trace.policy))


def _rule_line(trace: RuleTrace, policy: ObjectKey, origins: Origins) -> RuleLine:
    failed = tuple(_clause(each, policy, origins) for each in trace.failed)
    note = _WIDENED if trace.widened else _NOTES.get(trace.outcome, "")
    return RuleLine(trace.id.rule, trace.outcome, failed, note, origins.place(policy, f"spec.rules[{trace.id.rule}]"))


def _clause(failed: FailedClause, policy: ObjectKey, origins: Origins) -> Clause:
    return Clause(failed.path, clause_text(failed), origins.place(policy, failed.path))
