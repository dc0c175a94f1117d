"""Allow or deny, and why: the one engine that explanations and offline tests ask and the Envoy translation is tested against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.policy.facts import observe
from hauberk.policy.limited import limited_attributes
from hauberk.policy.normalize import normalize
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.ruleset import Paths, Ruleset
from hauberk.policy.trust_domains import TrustDomains
from hauberk.policy.verdict import Judgement, Verdict

ROOT_NAMESPACE: Final = "istio-system"
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_UNFEDERATED: Final = TrustDomains()
_DEFAULT_PATHS: Final = Paths()


@dataclass(frozen=True, slots=True, kw_only=True)
class Meshwide:
    """What decisions depend on beside policies: MeshConfig, distilled. `providers` None: every external service can be asked."""

    root_namespace: str = ROOT_NAMESPACE
    domains: TrustDomains = _UNFEDERATED
    paths: Paths = _DEFAULT_PATHS
    providers: frozenset[str] | None = None


def decide(
    request: Request,
    peer: Peer,
    workload: Workload,
    policies: Iterable[AuthorizationPolicy],
    *,
    root_namespace: str = ROOT_NAMESPACE,
    domains: TrustDomains = _UNFEDERATED,
    paths: Paths = _DEFAULT_PATHS,
    providers: frozenset[str] | None = None,
    external: bool | None = None,
) -> Verdict:
    """What becomes of `request` at `workload`, and how every policy fared; `external` is the answer of the service that CUSTOM asks."""
    mesh = Meshwide(root_namespace=root_namespace, domains=domains, paths=paths, providers=providers)
    return build_ruleset(select_policies(workload, policies, root_namespace=root_namespace), mesh).verdict(
        observe(request, peer, paths.level), external
    )


def build_ruleset(policies: Iterable[AuthorizationPolicy], mesh: Meshwide, limits: Iterable[RateLimitPolicy] = ()) -> Ruleset:
    """Those that select one workload, ready to be asked many times; `limits` select it too."""
    return Ruleset((normalize(policy, mesh.domains) for policy in policies), mesh.paths, mesh.providers, limited_attributes(limits))


def select_policies(
    workload: Workload, policies: Iterable[AuthorizationPolicy], *, root_namespace: str = ROOT_NAMESPACE
) -> tuple[AuthorizationPolicy, ...]:
    """Policies of the workload's and of the root namespace whose selector matches it, oldest first; those with targets are for gateways."""
    scopes = (workload.namespace, root_namespace)
    chosen = [each for each in policies if each.metadata.namespace in scopes and _selects(each, workload)]
    return tuple(sorted(chosen, key=_age))


def _selects(policy: AuthorizationPolicy, workload: Workload) -> bool:
    return not policy.spec.targets and policy.spec.selector.matches(workload.labels)


def _age(policy: AuthorizationPolicy) -> tuple[datetime, str, str]:
    metadata = policy.metadata
    return metadata.creation_timestamp or _BEGINNING, metadata.name, metadata.namespace


class Engine:
    """All policies of a mesh, for many decisions about many workloads: 20,000 and more in a second."""

    def __init__(self, policies: Iterable[AuthorizationPolicy], mesh: Meshwide) -> None:
        self._mesh = mesh
        self._by_namespace: dict[str, list[AuthorizationPolicy]] = {}
        for policy in policies:
            self._by_namespace.setdefault(policy.metadata.namespace, []).append(policy)
        self._rulesets: dict[tuple[str, frozenset[tuple[str, str]]], Ruleset] = {}

    def judge(self, request: Request, peer: Peer, workload: Workload, external: bool | None = None) -> Judgement:
        """The decision alone."""
        return self.ruleset(workload).judge(observe(request, peer, self._mesh.paths.level), external)

    def verdict(self, request: Request, peer: Peer, workload: Workload, external: bool | None = None) -> Verdict:
        """The decision with its trace."""
        return self.ruleset(workload).verdict(observe(request, peer, self._mesh.paths.level), external)

    def ruleset(self, workload: Workload) -> Ruleset:
        """What guards `workload`: one for all workloads of equal labels."""
        key = workload.namespace, frozenset(workload.labels.items())
        if key not in self._rulesets:
            root = self._mesh.root_namespace
            near = [policy for namespace in {workload.namespace, root} for policy in self._by_namespace.get(namespace, ())]
            self._rulesets[key] = build_ruleset(select_policies(workload, near, root_namespace=root), self._mesh)
        return self._rulesets[key]
