"""Who may answer for a service."""

from __future__ import annotations

from hauberk.identity.spiffe_id import workload_id
from hauberk.mesh.endpoints import ServicePeers
from hauberk.mesh.service import MeshService


def service_identities(service: MeshService, peers: ServicePeers, trust_domains: tuple[str, ...]) -> tuple[str, ...]:
    """SPIFFE IDs of the service accounts that its pods run as; a trailing star stands for any rest."""
    namespace = service.key.namespace
    # Before its first pod nobody can answer for a service; whoever comes will be of its namespace.
    nobody = tuple(f"spiffe://{domain}/ns/{namespace}/*" for domain in trust_domains)
    return tuple(str(workload_id(domain, namespace, account)) for domain in trust_domains for account in peers.service_accounts) or nobody
