"""AuthorizationPolicies as Envoy's RBAC filters for HTTP requests, in matcher form.

One filter decides: what is denied, then what is allowed. Its shadow says what would be decided were the policies in dry-run enforced,
and a filter before it which policy of the action AUDIT matches first. Every outcome has a name that records show: that of the rule, or
of what follows from there being none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from google.protobuf import any_pb2

from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.envoy.message import any_
from hauberk.policy.ambiguity import Ambiguity, ambiguities
from hauberk.policy.attribute import Kind
from hauberk.policy.limited import limited_attributes
from hauberk.policy.normalize import normalize
from hauberk.policy.pattern import PortPattern
from hauberk.policy.rule import NormalPolicy, NormalRule
from hauberk.policy.ruleset import Paths
from hauberk.policy.trust_domains import TrustDomains
from hauberk.policy.verdict import MUTUAL_TLS_REQUIRED, NO_ALLOW_MATCHED, NO_ALLOW_POLICY
from hauberk.translate.access_log import AUDIT_PREFIX, DRY_RUN_PREFIX
from hauberk.translate.matching import Place, outcome_matcher, rules_on_match, whole
from hauberk.translate.matching_clause import Outcome, build_clause
from hauberk.translate.matching_predicate import Predicate, text_is
from hauberk.translate.matching_text import expression
from hauberk.translate.matching_tree import FieldMatcher, Matcher, OnMatch, decided

# Names of the filters, which a route fills.
DECISION: Final = "envoy.filters.http.rbac"
AUDIT: Final = "hauberk.audit"

NO_AUDIT_MATCHED: Final = "hauberk-no-audit-matched"


class HttpRules:
    """What filters are told about requests to a workload that `policies` and `limits` select, where paths are read as `paths` says."""

    def __init__(
        self, policies: Iterable[AuthorizationPolicy], domains: TrustDomains, paths: Paths, limits: Iterable[RateLimitPolicy] = ()
    ) -> None:
        self._policies: Final = tuple(normalize(policy, domains) for policy in policies)
        self._domains: Final = domains
        self._paths: Final = paths
        self._limited: Final = limited_attributes(limits)
        self._ports: Final = frozenset(_ports(self._policies))
        self._made: dict[int | None, Mapping[str, any_pb2.Any]] = {}

    def at(self, port: int | None) -> Mapping[str, any_pb2.Any]:
        """The rules for requests to `port` (None: to any that nothing declares), by the name of the filter that asks them."""
        if not self._policies and not self._limited:
            return {}
        # Ports that no question names are alike; 0 is none of them.
        asked = None if port is None or not self._ports else port if port in self._ports else 0
        if asked not in self._made:
            self._made[asked] = self._make(Place(self._domains, asked))
        return self._made[asked]

    def _make(self, place: Place) -> Mapping[str, any_pb2.Any]:
        made: dict[str, any_pb2.Any] = {}
        if audit := self._audit(place):
            made[AUDIT] = _enabled(rbac_pb2.RBAC(shadow_matcher=audit, shadow_rules_stat_prefix=AUDIT_PREFIX))
        enforced = [policy for policy in self._policies if not policy.dry_run]
        decision = self._decision(enforced, place)
        tried = self._decision(self._policies, place) if len(enforced) < len(self._policies) else None
        if decision is not None or tried is not None:
            prefix = DRY_RUN_PREFIX if tried is not None else ""
            made[DECISION] = _enabled(rbac_pb2.RBAC(matcher=decision, shadow_matcher=tried, shadow_rules_stat_prefix=prefix))
        return made

    def _decision(self, policies: Sequence[NormalPolicy], place: Place) -> Matcher | None:
        """DENY, then ALLOW, of `policies`; None: there is nothing to decide."""
        denying, allowing = rules_of(policies, Action.DENY), rules_of(policies, Action.ALLOW)
        allows = any(policy.action is Action.ALLOW for policy in policies)
        ambiguous = () if self._paths.ambiguous else ambiguities(policies, self._limited)
        if not denying and not allows and not ambiguous:
            return None
        asked = [(rule, False) for rule in denying] + [(rule, True) for rule in allowing]
        clauses = [build_clause(rule, Outcome(str(rule.id), allowed)) for rule, allowed in asked]
        default = Outcome(NO_ALLOW_MATCHED, False) if allows else Outcome(NO_ALLOW_POLICY, True)
        found = rules_on_match(clauses, decided(default), place)
        return whole(_unless_ambiguous(ambiguous, found) if ambiguous else found)

    def _audit(self, place: Place) -> Matcher | None:
        rules = rules_of((policy for policy in self._policies if not policy.dry_run), Action.AUDIT)
        if not rules:
            return None
        return outcome_matcher([(rule, Outcome(str(rule.id), True)) for rule in rules], Outcome(NO_AUDIT_MATCHED, True), place)


def plain_is_refused() -> Mapping[str, any_pb2.Any]:
    """The rules for requests that come without mutual TLS where nothing else is taken, in the same form as `HttpRules`."""
    refused = whole(decided(Outcome(MUTUAL_TLS_REQUIRED, False)))
    return {DECISION: _enabled(rbac_pb2.RBAC(matcher=refused))}


def rules_of(policies: Iterable[NormalPolicy], action: Action) -> list[NormalRule]:
    """The rules of one action in the order in which they are asked: that of their names as texts."""
    return sorted((rule for policy in policies if policy.action is action for rule in policy.rules), key=lambda rule: str(rule.id))


def _ports(policies: Iterable[NormalPolicy]) -> Iterator[int]:
    """The ports that some question names: at all others the same is decided."""
    for rule in (rule for policy in policies for rule in policy.rules):
        for question in (question for alternative in (*rule.sources, *rule.operations, rule.conditions) for question in alternative):
            yield from (pattern.number for pattern in question.patterns if isinstance(pattern, PortPattern))


def _enabled(rbac: rbac_pb2.RBAC) -> any_pb2.Any:
    return any_(rbac_pb2.RBACPerRoute(rbac=rbac))


def _unless_ambiguous(ambiguous: Iterable[Ambiguity], otherwise: OnMatch) -> OnMatch:
    """Before everything else: what follows would be a guess."""
    matchers = [FieldMatcher(predicate=_found(each), on_match=decided(Outcome(each.name, False))) for each in ambiguous]
    return OnMatch(matcher=Matcher(matcher_list=Matcher.MatcherList(matchers=matchers), on_no_match=otherwise))


def _found(ambiguity: Ambiguity) -> Predicate:
    if ambiguity.attribute.kind is Kind.PATH:
        # What is before the query: its end is the end of the path.
        found = ambiguity.found.replace("$", "$|[?#]")
        return text_is(ambiguity.attribute, expression(rf"[^?#]*(?:{found})\C*"))
    return text_is(ambiguity.attribute, expression(rf"\C*(?:{ambiguity.found})\C*"))
