"""What is known of one sidecar at a moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from hauberk.identity.svid import X509Svid
from hauberk.xds.update import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateState:
    """The certificate a sidecar shows now."""

    spiffe_id: str
    serial: str
    not_before: datetime
    not_after: datetime
    issuer: str

    @classmethod
    def of(cls, svid: X509Svid) -> Self:
        return cls(
            spiffe_id=str(svid.spiffe_id), serial=svid.serial, not_before=svid.not_before, not_after=svid.not_after, issuer=svid.issuer
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarState:
    """`ready` is whether traffic flows; the other fields say how far a sidecar is that is not ready, and why."""

    ready: bool
    running: bool
    connected: bool  # Envoy's configuration stream stands
    control_plane: bool  # the control plane's stream for it stands
    certificate: CertificateState | None
    rejected: tuple[Rejection, ...] = ()
    restarts: int = 0
    problem: str = ""
    alarm: bool = False  # the certificate should have been renewed long ago, or has ended
