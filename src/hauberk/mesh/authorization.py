"""AuthorizationPolicies that concern a workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.mesh.service import NEVER
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class AuthorizationPolicies:
    """For each namespace the policies that may concern its workloads, oldest first; `elsewhere` those of the root namespace alone."""

    elsewhere: tuple[AuthorizationPolicy, ...]
    by_namespace: Mapping[str, tuple[AuthorizationPolicy, ...]] = field(repr=False)


def build_authorization_policies(root_namespace: str, *policies: AuthorizationPolicy) -> AuthorizationPolicies:
    """Index of `policies`."""
    found: dict[str, list[AuthorizationPolicy]] = {}
    for policy in policies:
        found.setdefault(policy.metadata.namespace, []).append(policy)
    # Those of the root namespace concern every namespace.
    root = found.pop(root_namespace, [])
    merged = {namespace: tuple(_oldest_first((*root, *each))) for namespace, each in found.items()}
    return AuthorizationPolicies(tuple(_oldest_first(root)), merged)


def selected_policies(workload: Workload, index: AuthorizationPolicies) -> tuple[AuthorizationPolicy, ...]:
    """All policies that select `workload`: they add up, none overrides another."""
    candidates = index.by_namespace.get(workload.namespace, index.elsewhere)
    return tuple([policy for policy in candidates if not policy.spec.targets and policy.spec.selector.matches(workload.labels)])


def _oldest_first(policies: Iterable[AuthorizationPolicy]) -> list[AuthorizationPolicy]:
    return sorted(policies, key=lambda p: (p.metadata.creation_timestamp or NEVER, p.metadata.name, p.metadata.namespace))
