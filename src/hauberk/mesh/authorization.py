"""AuthorizationPolicies that concern a workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.mesh.service import NEVER
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class AuthorizationPolicies:
    """Policies by namespace, oldest first; those of the root namespace concern every namespace."""

    root_namespace: str
    by_namespace: Mapping[str, tuple[AuthorizationPolicy, ...]] = field(repr=False)


def build_authorization_policies(root_namespace: str, *policies: AuthorizationPolicy) -> AuthorizationPolicies:
    """Index of `policies`."""
    found: dict[str, list[AuthorizationPolicy]] = {}
    for policy in _oldest_first(policies):
        found.setdefault(policy.metadata.namespace, []).append(policy)
    return AuthorizationPolicies(root_namespace, {namespace: tuple(each) for namespace, each in found.items()})


def selected_policies(workload: Workload, index: AuthorizationPolicies) -> tuple[AuthorizationPolicy, ...]:
    """All policies that select `workload`: they add up, none overrides another."""
    namespaces = dict.fromkeys((index.root_namespace, workload.namespace))
    candidates = [policy for namespace in namespaces for policy in index.by_namespace.get(namespace, ())]
    return tuple(_oldest_first(policy for policy in candidates if policy.spec.selector.matches(workload.labels)))


def _oldest_first(policies: Iterable[AuthorizationPolicy]) -> list[AuthorizationPolicy]:
    return sorted(policies, key=lambda p: (p.metadata.creation_timestamp or NEVER, p.metadata.name, p.metadata.namespace))
