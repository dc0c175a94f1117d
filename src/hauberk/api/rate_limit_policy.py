"""RateLimitPolicy: how many requests a workload accepts (policy.hauberk.dev).

Every instance of a workload counts for itself: of a Deployment with three replicas three times the limit passes in the worst case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from hauberk.api.dry_run import check_dry_run, is_dry_run
from hauberk.api.finding import Finding
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel
from hauberk.api.rate_limit import HeaderMatch, Limit, LimitMatch
from hauberk.api.rate_limit_check import check_limits
from hauberk.api.selector import WorkloadSelector
from hauberk.api.target import TargetRef, check_targets

__all__ = ["HeaderMatch", "Limit", "LimitMatch", "RateLimitPolicy", "RateLimitPolicySpec"]

TARGETS: Final[Mapping[str, str]] = {"Service": "", "Deployment": "apps"}  # kind → group


class RateLimitPolicySpec(ApiModel):
    """The limits of the workloads that `target_refs` or `selector` mean; neither means all of the namespace. All limits hold."""

    selector: WorkloadSelector = WorkloadSelector()
    target_refs: tuple[TargetRef, ...] = ()  # of kind Service (its pods) or Deployment (group apps), in the policy's namespace
    limits: Annotated[tuple[Limit, ...], Field(min_length=1)]


class RateLimitPolicy(ApiObject):
    """Bounds on the requests of some workloads."""

    api_version: Literal["policy.hauberk.dev/v1alpha1"] = "policy.hauberk.dev/v1alpha1"
    kind: Literal["RateLimitPolicy"] = "RateLimitPolicy"
    spec: RateLimitPolicySpec

    @property
    def dry_run(self) -> bool:
        """It is only tried: what it would refuse is recorded and passes."""
        return is_dry_run(self.metadata.annotations)

    def findings(self) -> Iterator[Finding]:
        yield from check_dry_run(self.metadata.annotations)
        yield from check_targets(self.metadata.namespace, self.spec.selector, self.spec.target_refs, TARGETS)
        yield from check_limits(("spec", "limits"), self.spec.limits)
