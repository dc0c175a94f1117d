"""PeerAuthentication: whether a workload's ports demand mutual TLS (Istio: security.istio.io)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Literal

from hauberk.api.finding import Finding
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel
from hauberk.api.selector import WorkloadSelector


class MtlsMode(StrEnum):
    """UNSET takes the mode of the next wider policy."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class Mtls(ApiModel):
    """One mode."""

    mode: MtlsMode = MtlsMode.UNSET


class PeerAuthenticationSpec(ApiModel):
    """`port_level_mtls` is keyed by the workload's own port numbers, not by a Service's."""

    selector: WorkloadSelector = WorkloadSelector()
    mtls: Mtls = Mtls()
    port_level_mtls: Mapping[int, Mtls] = {}


class PeerAuthentication(ApiObject):
    """Who may connect without a certificate."""

    api_version: Literal["security.istio.io/v1"] = "security.istio.io/v1"
    kind: Literal["PeerAuthentication"] = "PeerAuthentication"
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()

    def findings(self) -> Iterator[Finding]:
        return check_peer_authentication(self)


def check_peer_authentication(policy: PeerAuthentication) -> Iterator[Finding]:
    """Mistakes that types alone do not show."""
    spec = policy.spec
    if spec.port_level_mtls and not spec.selector.match_labels:
        message = "portLevelMtls needs a selector: port numbers mean something for chosen workloads only"
        yield Finding("HBK0310", ("spec", "portLevelMtls"), message)
    for port in spec.port_level_mtls:
        if not 1 <= port <= 65535:
            yield Finding("HBK0107", ("spec", "portLevelMtls", str(port)), f"{port} is no port number; ports go from 1 to 65535")
