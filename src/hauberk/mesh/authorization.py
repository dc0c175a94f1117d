"""AuthorizationPolicies that concern a workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.mesh.service import NEVER
from hauberk.mesh.workload import Workload

Pair = tuple[str, str]  # a label's key and value


@dataclass(frozen=True, slots=True)
class Candidates:
    """Policies of one scope, each with its place in their order: those that select `everyone`, and the others by one of their labels.

    A workload looks up its own labels: a thousand policies of other workloads cost it nothing.
    """

    everyone: tuple[tuple[int, AuthorizationPolicy], ...]
    by_label: Mapping[Pair, tuple[tuple[int, AuthorizationPolicy], ...]] = field(repr=False)

    def of(self, workload: Workload) -> Iterator[tuple[int, AuthorizationPolicy]]:
        """Those that may select `workload`."""
        yield from self.everyone
        for pair in workload.labels.items():
            yield from self.by_label.get(pair, ())


@dataclass(frozen=True, slots=True)
class AuthorizationPolicies:
    """For each namespace the policies that may concern its workloads; `elsewhere` those of the root namespace alone."""

    elsewhere: Candidates
    by_namespace: Mapping[str, Candidates] = field(repr=False)


def build_authorization_policies(root_namespace: str, *policies: AuthorizationPolicy) -> AuthorizationPolicies:
    """Index of `policies`; those with targets are for gateways and concern no sidecar."""
    found: dict[str, list[AuthorizationPolicy]] = {}
    for policy in policies:
        if not policy.spec.targets:
            found.setdefault(policy.metadata.namespace, []).append(policy)
    # Those of the root namespace concern every namespace.
    root = found.pop(root_namespace, [])
    merged = {namespace: _candidates((*root, *each)) for namespace, each in found.items()}
    return AuthorizationPolicies(_candidates(root), merged)


def selected_policies(workload: Workload, index: AuthorizationPolicies) -> tuple[AuthorizationPolicy, ...]:
    """All policies that select `workload`, oldest first: they add up, none overrides another."""
    candidates = index.by_namespace.get(workload.namespace, index.elsewhere)
    found = [each for each in candidates.of(workload) if each[1].spec.selector.matches(workload.labels)]
    return tuple([policy for _, policy in sorted(found, key=_place)])


def _candidates(policies: Iterable[AuthorizationPolicy]) -> Candidates:
    ordered = list(enumerate(sorted(policies, key=_age)))
    common = Counter(pair for _, policy in ordered for pair in policy.spec.selector.match_labels.items())
    everyone: list[tuple[int, AuthorizationPolicy]] = []
    by_label: dict[Pair, list[tuple[int, AuthorizationPolicy]]] = {}
    for place, policy in ordered:
        # The label that the fewest policies name tells most.
        rarest = min(policy.spec.selector.match_labels.items(), key=lambda pair: (common[pair], pair), default=None)
        (everyone if rarest is None else by_label.setdefault(rarest, [])).append((place, policy))
    return Candidates(tuple(everyone), {pair: tuple(each) for pair, each in by_label.items()})


def _place(candidate: tuple[int, AuthorizationPolicy]) -> int:
    return candidate[0]


def _age(policy: AuthorizationPolicy) -> tuple[object, str, str]:
    return policy.metadata.creation_timestamp or NEVER, policy.metadata.name, policy.metadata.namespace
