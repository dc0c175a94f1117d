"""RequestAuthentication: which tokens (JWT) of end users a workload knows (Istio: security.istio.io)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hauberk.api.finding import Finding
from hauberk.api.jwt_rule import ClaimToHeader, JwtHeader, JwtRule
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel
from hauberk.api.request_authentication_check import check_jwt_rules
from hauberk.api.selector import WorkloadSelector
from hauberk.api.target import TargetRef, check_istio_targets

__all__ = ["ClaimToHeader", "JwtHeader", "JwtRule", "RequestAuthentication", "RequestAuthenticationSpec"]


class RequestAuthenticationSpec(ApiModel):
    """The issuers whose tokens the selected workloads verify; a request without a token passes."""

    selector: WorkloadSelector = WorkloadSelector()
    target_ref: TargetRef | None = None  # the older form of one target
    target_refs: tuple[TargetRef, ...] = ()
    jwt_rules: tuple[JwtRule, ...] = ()

    @property
    def targets(self) -> tuple[TargetRef, ...]:
        """What it is attached to; with any, no sidecar acts on it (S-A11)."""
        return ((self.target_ref,) if self.target_ref else ()) + self.target_refs


class RequestAuthentication(ApiObject):
    """Tokens that some workloads verify."""

    api_version: Literal["security.istio.io/v1"] = "security.istio.io/v1"
    kind: Literal["RequestAuthentication"] = "RequestAuthentication"
    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()

    def findings(self) -> Iterator[Finding]:
        spec = self.spec
        yield from check_istio_targets(self.metadata.namespace, spec.selector, spec.target_ref, spec.target_refs)
        yield from check_jwt_rules(("spec", "jwtRules"), spec.jwt_rules)
