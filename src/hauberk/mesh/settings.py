"""What the mesh's operator decides outside of objects and every proxy's configuration depends on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """Settings of the control plane that reach the proxies.

    `certificate_life` bounds how long a connection may live: a peer that has proven its identity with a certificate has to prove
    it again. `foreign_trust_domains`: the mesh is federated with these, so their members are let as
    far as the policies.
    """

    root_namespace: str = "istio-system"
    cluster_domain: str = "cluster.local"
    certificate_life: timedelta = timedelta(hours=24)
    foreign_trust_domains: tuple[str, ...] = ()
