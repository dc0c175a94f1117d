"""Names of Envoy's objects, as Istio gives them: dashboards and people read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

INBOUND: Final = "inbound"  # where names begin of what leads to a port of the program
PASSTHROUGH: Final = "PassthroughCluster"
INBOUND_PASSTHROUGH: Final = "InboundPassthroughCluster"
BLACK_HOLE: Final = "BlackHoleCluster"
AUTHORIZED: Final = "AuthorizedCluster"
VIRTUAL_OUTBOUND: Final = "virtualOutbound"
VIRTUAL_INBOUND: Final = "virtualInbound"
REVOKED: Final = "hauberk-revoked"
ANY_IPV4: Final = "0.0.0.0"  # noqa: S104  # the name of a listener's address, nothing is bound here


@dataclass(frozen=True, slots=True)
class ClusterName:
    """`outbound|80|v1|web.shop.svc.cluster.local`, `inbound|8080||`."""

    direction: str
    port: int
    subset: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.host}"

    @property
    def sni(self) -> str:
        """The name that a sidecar asks for in its TLS greeting: `outbound_.80_.v1_.web.shop.svc.cluster.local`."""
        return f"{self.direction}_.{self.port}_.{self.subset}_.{self.host}"


def outbound(port: int, host: str) -> ClusterName:
    return ClusterName("outbound", port, "", host)


def inbound(port: int) -> ClusterName:
    return ClusterName(INBOUND, port)


def revoked_name(what: str) -> str:
    """What decided when a caller was refused because `what` of it (`identity`, `certificate`) is revoked: `hauberk-revoked[identity]`."""
    return f"{REVOKED}[{what}]"


def policy_name(namespace: str, name: str, rule: int) -> str:
    """`ns[shop]-policy[readers]-rule[0]`."""
    return f"ns[{namespace}]-policy[{name}]-rule[{rule}]"
