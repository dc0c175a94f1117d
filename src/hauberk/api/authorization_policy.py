"""AuthorizationPolicy: who may call what (Istio: security.istio.io). What a rule can ask stands in `authorization_rule`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hauberk.api.authorization_check import check_rules
from hauberk.api.authorization_rule import Action, Operation, Rule, Source
from hauberk.api.dry_run import DRY_RUN, check_dry_run, is_dry_run
from hauberk.api.finding import Finding
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel
from hauberk.api.selector import WorkloadSelector
from hauberk.api.target import TargetRef, check_istio_targets

__all__ = ["DRY_RUN", "Action", "AuthorizationPolicy", "AuthorizationPolicySpec", "Operation", "Provider", "Rule", "Source"]


class Provider(ApiModel):
    """The external service that a CUSTOM policy asks: a name among the mesh's `extensionProviders`."""

    name: str


class AuthorizationPolicySpec(ApiModel):
    """No rule matches nothing: ALLOW without rules denies all requests to the selected workloads."""

    selector: WorkloadSelector = WorkloadSelector()
    target_ref: TargetRef | None = None  # the older form of one target
    target_refs: tuple[TargetRef, ...] = ()
    action: Action = Action.ALLOW
    provider: Provider | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def targets(self) -> tuple[TargetRef, ...]:
        """What the policy is attached to. Such a policy is for gateways and waypoints: no sidecar enforces it (S-A11)."""
        return ((self.target_ref,) if self.target_ref else ()) + self.target_refs


class AuthorizationPolicy(ApiObject):
    """Access rules of some workloads."""

    api_version: Literal["security.istio.io/v1"] = "security.istio.io/v1"
    kind: Literal["AuthorizationPolicy"] = "AuthorizationPolicy"
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()

    @property
    def dry_run(self) -> bool:
        """It is only tried: its verdict is recorded and never enforced."""
        return is_dry_run(self.metadata.annotations)

    def findings(self) -> Iterator[Finding]:
        spec = self.spec
        yield from check_dry_run(self.metadata.annotations)
        yield from check_istio_targets(self.metadata.namespace, spec.selector, spec.target_ref, spec.target_refs)
        yield from self._check_action()
        yield from check_rules(spec.rules, spec.action)

    def _check_action(self) -> Iterator[Finding]:
        action, provider = self.spec.action, self.spec.provider
        if self.dry_run and action in (Action.AUDIT, Action.CUSTOM):
            at = ("metadata", "annotations", DRY_RUN)
            yield Finding("HBK0308", at, f"{action} has no dry-run; only ALLOW and DENY have one")
        if action is Action.CUSTOM and not (provider and provider.name):
            yield Finding("HBK0315", ("spec", "provider"), "CUSTOM needs provider.name: the service that is asked")
        if action is not Action.CUSTOM and provider:
            yield Finding("HBK0315", ("spec", "provider"), f"{action} asks no provider", "remove provider, or take the action CUSTOM")
