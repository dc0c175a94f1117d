"""Which RateLimitPolicies bound a workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hauberk.api.deployment import Deployment
from hauberk.api.metadata import ObjectKey
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.api.selector import LabelSelector, WorkloadSelector
from hauberk.mesh.service import NEVER, MeshService
from hauberk.mesh.workload import Workload

Selector = LabelSelector | WorkloadSelector
Bounds = tuple[tuple[RateLimitPolicy, tuple[Selector, ...]], ...]


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Policies that may bound workloads of a namespace, the oldest first, each with whom it selects."""

    everywhere: Bounds
    by_namespace: Mapping[str, Bounds] = field(repr=False)


def build_rate_limits(root_namespace: str, services: Mapping[ObjectKey, MeshService], *objects: RateLimitPolicy | Deployment) -> RateLimits:
    """Index of the policies among `objects`; the Deployments are those that a policy may name as its target."""
    deployments = {each.key: each for each in objects if isinstance(each, Deployment)}
    found: dict[str, list[tuple[RateLimitPolicy, tuple[Selector, ...]]]] = {}
    for policy in sorted((each for each in objects if isinstance(each, RateLimitPolicy)), key=_age):
        selected = tuple(_selected(policy, services, deployments))
        if selected:
            found.setdefault(policy.metadata.namespace, []).append((policy, selected))
    # Those of the root namespace that name no targets bound workloads of every namespace.
    everywhere = tuple(each for each in found.get(root_namespace, ()) if not each[0].spec.target_refs)
    return RateLimits(everywhere, {namespace: tuple(each) for namespace, each in found.items()})


def selected_rate_limits(workload: Workload, index: RateLimits) -> tuple[RateLimitPolicy, ...]:
    """All policies that bound `workload`; every limit of every one holds."""
    own = index.by_namespace.get(workload.namespace, ())
    candidates = (*(each for each in index.everywhere if each not in own), *own)
    return tuple(policy for policy, selected in candidates if any(each.matches(workload.labels) for each in selected))


def _selected(
    policy: RateLimitPolicy, services: Mapping[ObjectKey, MeshService], deployments: Mapping[ObjectKey, Deployment]
) -> Iterable[Selector]:
    if not policy.spec.target_refs:
        yield policy.spec.selector
    for target in policy.spec.target_refs:
        key = ObjectKey(target.kind, policy.metadata.namespace, target.name)
        service, deployment = services.get(key), deployments.get(key)
        if service and service.selector:  # without one it has no pods
            yield LabelSelector(match_labels=service.selector)
        if deployment:
            yield deployment.spec.selector


def _age(policy: RateLimitPolicy) -> tuple[object, str, str]:
    return policy.metadata.creation_timestamp or NEVER, policy.metadata.name, policy.metadata.namespace
