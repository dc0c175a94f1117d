"""Rate limits of workloads that do not exist, that speak no HTTP, or by what their requests do not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hauberk.analysis.carriers import Carrier
from hauberk.analysis.fitting import check_selector
from hauberk.analysis.ports import check_undeclared
from hauberk.analysis.tokens import check_limits
from hauberk.analysis.values import limit_values
from hauberk.analysis.world import Group, World
from hauberk.api.deployment import Deployment
from hauberk.api.finding import Finding, Location
from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.api.rate_limit_key import BucketKind
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.api.service import Service
from hauberk.api.sift import near_remedy
from hauberk.api.target import TargetRef
from hauberk.mesh.protocol import Protocol

_OF_PEER = (BucketKind.PRINCIPAL, BucketKind.NAMESPACE)


def check_rate_limits(policy: RateLimitPolicy, world: World) -> Iterator[Finding]:
    """What in the policy does not fit the workloads it is about."""
    if not policy.spec.target_refs:
        yield from check_selector(policy, world)
    for index, target in enumerate(policy.spec.target_refs):
        yield from _check_target(("spec", "targetRefs", index), target, policy.metadata.namespace, world)
    for index, limit in enumerate(policy.spec.limits):
        yield from limit_values(limit.match, ("spec", "limits", index, "match"), world)
    group = _group(policy, world)
    if not group.meshed:
        return
    yield from check_limits(("spec", "limits"), policy.spec.limits, group.issuers)
    if group.modes == {MtlsMode.DISABLE}:
        yield from _check_identities(policy)
    if all(each and all(speaks is Protocol.TCP for speaks in each.values()) for each in group.ports):
        yield Finding("HBK0364", ("spec",), "the workloads it is about speak no HTTP, so there are no requests to count")
    yield from check_undeclared(("spec",), group.ports, "requests are not counted")


def _check_target(at: Location, target: TargetRef, namespace: str, world: World) -> Iterator[Finding]:
    if namespace not in world.populated:
        return
    found = {each.metadata.name for model in (Service, Deployment) if model.__name__ == target.kind for each in world.of(model)
             if each.metadata.namespace == namespace}  # fmt: skip
    if target.name not in found:
        yield Finding("HBK0358", (*at, "name"), f"there is no {target.kind} {target.name} in {namespace}", near_remedy(target.name, found))


def _group(policy: RateLimitPolicy, world: World) -> Group:
    namespace = policy.metadata.namespace
    if not policy.spec.target_refs:
        return world.selected(policy)
    found: dict[ObjectKey, Carrier] = {}
    for target in policy.spec.target_refs:
        if labels := _labels(target, namespace, world):
            found.update((carrier.key, carrier) for carrier in world.carriers.selected((namespace,), labels))
    return Group(world, tuple(found.values()))


def _labels(target: TargetRef, namespace: str, world: World) -> Mapping[str, str]:
    """The labels of what the target means; none if it does not exist."""
    wanted = ObjectKey(target.kind, namespace, target.name)
    if target.kind == "Service":
        return next((each.spec.selector for each in world.of(Service) if each.key == wanted), {})
    return next((each.spec.template.metadata.labels for each in world.of(Deployment) if each.key == wanted), {})


def _check_identities(policy: RateLimitPolicy) -> Iterator[Finding]:
    for index, limit in enumerate(policy.spec.limits):
        for number, key in enumerate(limit.buckets):
            if key.kind in _OF_PEER:
                message = "the workloads take no certificates (PeerAuthentication DISABLE), so all callers share one count"
                yield Finding("HBK0356", ("spec", "limits", index, "by", number), message)
