"""What a workload's routes say to the filters around its policies: external authorization, rate limits, and headers that look alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf import any_pb2

from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.rate_limit_key import BucketKind
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.envoy.message import any_
from hauberk.policy.attribute import Kind
from hauberk.policy.normalize import normalize
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.external_authorization import ask_authorizer
from hauberk.translate.matching import Place
from hauberk.translate.mesh_headers import LOOKALIKES, without_lookalikes
from hauberk.translate.rate_limit import limit_requests, name_of


class RouteFilters:
    """For requests to a workload that `policies` and `limits` select, and into which the sidecar writes the headers `written`."""

    def __init__(
        self, policies: Iterable[AuthorizationPolicy], limits: Sequence[RateLimitPolicy], domains: TrustDomains, written: Iterable[str] = ()
    ) -> None:
        self._policies: Final = tuple(normalize(policy, domains) for policy in policies)
        self._domains: Final = domains
        self._everywhere: Final = dict(limit_requests(limits))
        if lookalikes := without_lookalikes((*_asked(self._policies, limits), *written)):
            self._everywhere[LOOKALIKES] = lookalikes
        self.limiting: Final = name_of([each for each in limits if not each.dry_run])  # for records

    def at(self, port: int | None, *, reachable: bool) -> Mapping[str, any_pb2.Any]:
        """For requests to `port` (None: to any that nothing declares), by the filter's name; `reachable`: there is whom to ask."""
        asked = ask_authorizer(self._policies, Place(self._domains, port), reachable=reachable)
        return {name: any_(said) for name, said in (*asked.items(), *self._everywhere.items())}


def _asked(policies: Iterable[NormalPolicy], limits: Iterable[RateLimitPolicy]) -> set[str]:
    """Every header by which something is decided: what is only watched or tried leaves requests as they are."""
    rules = (rule for policy in policies if policy.action is not Action.AUDIT and not policy.dry_run for rule in policy.rules)
    questions = (
        question for rule in rules for alternative in (*rule.sources, *rule.operations, rule.conditions) for question in alternative
    )
    asked = {question.attribute.key[0] for question in questions if question.attribute.kind is Kind.HEADER}
    for limit in (limit for policy in limits if not policy.dry_run for limit in policy.spec.limits):
        asked.update(header.name.lower() for header in limit.match.headers)
        asked.update(key.name[0] for key in limit.buckets if key.kind is BucketKind.HEADER)
    return asked
