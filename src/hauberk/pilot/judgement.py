"""Whether connections of bytes that are open would be taken if they were made now: by the same engine that predicts and explains.

What nobody here can know is not held against a connection: what an external authorizer says, or that its pod is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.inbound import Inbound
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.decision import decide
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.trust_domains import TrustDomains


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConnection:
    """A connection to the port `port` of a pod; `identity` is the caller's SPIFFE ID, None without mutual TLS."""

    identity: str | None
    address: str
    destination: str
    port: int
    server_name: str = ""


def judge(snapshot: MeshSnapshot, pod: ObjectKey, connections: Sequence[OpenConnection]) -> tuple[bool, ...]:
    """For each of `connections` to `pod` whether it may go on."""
    inbound, workload = snapshot.inbound.get(pod), snapshot.workloads.get(pod)
    if inbound is None or workload is None:
        return (True,) * len(connections)
    return tuple(_answers(snapshot, inbound, Workload(namespace=pod.namespace, labels=workload.labels), connections))


def _answers(snapshot: MeshSnapshot, inbound: Inbound, workload: Workload, connections: Sequence[OpenConnection]) -> Iterator[bool]:
    config = snapshot.config
    domains = TrustDomains(config.trust_domain, config.trust_domain_aliases, snapshot.settings.foreign_trust_domains)
    for each in connections:
        if each.identity is None and mode_of(inbound, each.port) is MtlsMode.STRICT:
            yield False
            continue
        request = Request(port=each.port, http=False, sni=each.server_name or None, destination_ip=each.destination)
        peer = Peer(identity=each.identity, address=each.address)
        root = snapshot.settings.root_namespace
        yield decide(request, peer, workload, inbound.policies, root_namespace=root, domains=domains).allowed


def mode_of(inbound: Inbound, port: int) -> MtlsMode:
    """The mode of a port of the workload."""
    return next((each.mode for each in inbound.ports if each.number == port), inbound.mode)
