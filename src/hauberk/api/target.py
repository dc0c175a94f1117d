"""What a policy is attached to by name (`targetRefs` of the Gateway API)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel
from hauberk.api.name import subdomain_fault
from hauberk.api.selector import WorkloadSelector
from hauberk.api.sift import near_remedy

MOST_TARGETS = 16
OF_ISTIO: Final[Mapping[str, str]] = {  # kind → group
    "Service": "",
    "ServiceEntry": "networking.istio.io",
    "Gateway": "gateway.networking.k8s.io",
    "GatewayClass": "gateway.networking.k8s.io",
}


class TargetRef(ApiModel):
    """One object; `namespace` may only repeat the policy's own."""

    group: str = ""
    kind: str
    name: str
    namespace: str = ""


def check_istio_targets(
    namespace: str, selector: WorkloadSelector, target_ref: TargetRef | None, target_refs: tuple[TargetRef, ...]
) -> Iterator[Finding]:
    """Mistakes of the targets of a policy of Istio's, and the warning that no sidecar acts on it (S-A11)."""
    if target_ref and target_refs:
        yield Finding("HBK0113", ("spec", "targetRef"), "targetRef and targetRefs exclude each other", "write all in targetRefs")
    yield from check_targets(namespace, selector, target_refs, OF_ISTIO)
    if target_ref:
        yield from check_targets(namespace, selector, (target_ref,), OF_ISTIO, at=("spec", "targetRef"))
    if target_ref or target_refs:
        message = "a policy with targetRefs is for gateways and waypoints: no sidecar enforces it, and nothing else does here"
        remedy = "choose workloads by spec.selector.matchLabels; those of a Service have the labels of its selector"
        yield Finding("HBK0312", ("spec", "targetRefs" if target_refs else "targetRef"), message, remedy)


def check_targets(
    namespace: str, selector: WorkloadSelector, targets: tuple[TargetRef, ...], kinds: Mapping[str, str], *, at: Location | None = None
) -> Iterator[Finding]:
    """Mistakes of targets that may be of `kinds`; `at` is given for a single one that is no list."""
    whole: Location = at or ("spec", "targetRefs")
    if targets and selector.match_labels:
        yield Finding("HBK0113", whole, f"{whole[-1]} and selector exclude each other")
    if len(targets) > MOST_TARGETS:
        yield Finding("HBK0307", whole, f"{len(targets)} targets; at most {MOST_TARGETS} are allowed")
    for index, target in enumerate(targets[:MOST_TARGETS]):
        yield from _check_target(at or (*whole, index), namespace, target, kinds)


def _check_target(at: Location, namespace: str, target: TargetRef, kinds: Mapping[str, str]) -> Iterator[Finding]:
    group = kinds.get(target.kind)
    if group is None:
        message = f"{target.kind!r} cannot be a target; it must be {' or '.join(kinds)}"
        yield Finding("HBK0106", (*at, "kind"), message, near_remedy(target.kind, kinds))
    elif target.group not in ({"", "core"} if not group else {group}):
        yield Finding("HBK0106", (*at, "group"), f"{target.kind} is of the group {group!r}, not of {target.group!r}")
    if fault := subdomain_fault(target.name):
        yield Finding("HBK0108", (*at, "name"), f"{target.name!r} is no name of an object: it {fault}")
    if target.namespace not in ("", namespace):
        message = f"a target is in the policy's own namespace, {namespace}, not in {target.namespace}"
        yield Finding("HBK0113", (*at, "namespace"), message, "put the policy into the namespace of its target")
