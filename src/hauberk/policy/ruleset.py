"""The policies of one workload, ready to be asked many times.

Istio's order (S-A1): an external service that refuses, then any matching DENY, refuse; without any ALLOW policy all else is allowed;
then a matching ALLOW is needed. AUDIT never decides. Rules of one action are asked in the order of their names as texts: Envoy does so
too, and so both name the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from hauberk.api.authorization_rule import Action
from hauberk.policy.ambiguity import ambiguities
from hauberk.policy.attribute import Attribute
from hauberk.policy.facts import Facts
from hauberk.policy.index import Rules
from hauberk.policy.normalization import Level
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.trace import trace_policy
from hauberk.policy.verdict import (
    EXTERNAL,
    MALFORMED,
    NO_ALLOW_MATCHED,
    NO_ALLOW_POLICY,
    NO_PROVIDER,
    Judgement,
    Verdict,
    by_rule,
)


@dataclass(frozen=True, slots=True)
class Paths:
    """How the mesh reads paths, and whether what can be read in two ways is refused."""

    level: Level = "DEFAULT"
    ambiguous: bool = False


class Ruleset:
    """Policies that all select one workload; `providers` are the external services that can be asked, None: whichever is named.

    `limited` is what rate limits of the workload ask about.
    """

    def __init__(
        self,
        policies: Iterable[NormalPolicy],
        paths: Paths,
        providers: frozenset[str] | None = None,
        limited: frozenset[Attribute] = frozenset(),
    ) -> None:
        self.policies: Final = tuple(policies)
        self.paths: Final = paths
        self.providers: Final = providers
        self.limited: Final = limited
        self._enforced: Final = [policy for policy in self.policies if not policy.dry_run]

    def judge(self, facts: Facts, external: bool | None = None) -> Judgement:
        """The decision alone; `external` is what the external service says, if it is asked and its answer known."""
        return self._judge(facts, self._custom_judgement(facts, external), self._enforced_order)

    def verdict(self, facts: Facts, external: bool | None = None) -> Verdict:
        """The decision with its trace."""
        custom = self._custom_judgement(facts, external)
        asked = None if facts.refused else self._custom.of(facts).first(facts)
        tried = self._judge(facts, custom, self._tried_order) if len(self._enforced) < len(self.policies) else None
        return Verdict(
            self._judge(facts, custom, self._enforced_order),
            tuple(trace_policy(policy, facts) for policy in self.policies),
            tried,
            () if facts.refused else tuple(rule.id for rule in self._audit.of(facts).matching(facts)),
            asked.id if asked else None,
        )

    def _judge(self, facts: Facts, custom: Judgement | None, order: _Order) -> Judgement:
        if facts.refused:
            return Judgement(False, MALFORMED)
        if custom is not None:
            return custom
        for each in order.ambiguities:
            if each.holds(facts):
                return Judgement(False, each.name)
        return order.judge(facts)

    def _custom_judgement(self, facts: Facts, external: bool | None) -> Judgement | None:
        """What CUSTOM policies refuse."""
        rule = None if facts.refused else self._custom.of(facts).first(facts)
        if rule is None:
            return None
        # Nobody can be asked about a connection: a server that speaks first would have spoken before the answer.
        if not facts.request.http or len(self._asked) > 1 or (self.providers is not None and not self._asked <= self.providers):
            return Judgement(False, NO_PROVIDER, rule.id)
        return Judgement(False, EXTERNAL, rule.id) if external is False else None

    @cached_property
    def _asked(self) -> frozenset[str]:
        return frozenset(policy.provider or "" for policy in self._enforced if policy.action is Action.CUSTOM)

    @cached_property
    def _custom(self) -> _Group:
        return _Group(self._enforced, Action.CUSTOM)

    @cached_property
    def _audit(self) -> _Group:
        return _Group(self._enforced, Action.AUDIT)

    @cached_property
    def _enforced_order(self) -> _Order:
        return _Order(self._enforced, self.paths, self.limited)

    @cached_property
    def _tried_order(self) -> _Order:
        return _Order(self.policies, self.paths, self.limited)


class _Order:
    """DENY, then ALLOW, of these policies."""

    def __init__(self, policies: Iterable[NormalPolicy], paths: Paths, limited: frozenset[Attribute]) -> None:
        found = tuple(policies)
        self._deny = _Group(found, Action.DENY)
        self._allow = _Group(found, Action.ALLOW)
        self.ambiguities = () if paths.ambiguous else ambiguities(found, limited)

    def judge(self, facts: Facts) -> Judgement:
        denied = self._deny.of(facts).first(facts)
        if denied is not None:
            return by_rule(denied.id, allowed=False)
        if not self._allow.exists:
            return Judgement(True, NO_ALLOW_POLICY)
        allowed = self._allow.of(facts).first(facts)
        return by_rule(allowed.id, allowed=True) if allowed is not None else Judgement(False, NO_ALLOW_MATCHED)


class _Group:
    """The rules of one action, for requests and for connections."""

    def __init__(self, policies: Iterable[NormalPolicy], action: Action) -> None:
        self._policies = [policy for policy in policies if policy.action is action]
        self._action = action
        self.exists = bool(self._policies)

    def of(self, facts: Facts) -> Rules:
        return self._requests if facts.request.http else self._connections

    @cached_property
    def _requests(self) -> Rules:
        return Rules(rule for policy in self._policies for rule in policy.rules)

    @cached_property
    def _connections(self) -> Rules:
        seen = (rule.for_connections(self._action) for policy in self._policies for rule in policy.rules)
        return Rules(rule for rule in seen if rule is not None)
