"""Whether connections of bytes that are open would be taken if they were made now: by the same engine that predicts and explains.

What nobody here can know is not held against a connection: what an external authorizer says, or that its pod is gone; nor of a request
that was upgraded (a WebSocket) its headers and its token, which nobody has kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.inbound import Inbound
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.decision import Meshwide, build_ruleset, select_policies
from hauberk.policy.facts import observe
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
    request: UpgradedRequest | None = None


def judge(snapshot: MeshSnapshot, pod: ObjectKey, connections: Sequence[OpenConnection]) -> tuple[bool, ...]:
    """For each of `connections` to `pod` whether it may go on."""
    inbound, workload = snapshot.inbound.get(pod), snapshot.workloads.get(pod)
    if inbound is None or workload is None:
        return (True,) * len(connections)
    asked = _Asked(snapshot, inbound, Workload(namespace=pod.namespace, labels=workload.labels))
    return tuple(map(asked.may_go_on, connections))


class _Asked:
    """The policies and modes of one workload."""

    def __init__(self, snapshot: MeshSnapshot, inbound: Inbound, workload: Workload) -> None:
        config = snapshot.config
        self._inbound = inbound
        self._workload = workload
        self._root = snapshot.settings.root_namespace
        self._domains = TrustDomains(config.trust_domain, config.trust_domain_aliases, snapshot.settings.foreign_trust_domains)
        self._ambiguous = config.hauberk.ambiguous_paths == "ALLOW"
        self._rulesets: dict[frozenset[Kind], Ruleset] = {}

    def may_go_on(self, connection: OpenConnection) -> bool:
        if connection.identity is None and mode_of(self._inbound, connection.port) is MtlsMode.STRICT:
            return False
        upgraded = connection.request
        return self._takes(connection) if upgraded is None else self._could_take(connection, upgraded)

    def _takes(self, connection: OpenConnection) -> bool:
        request = Request(port=connection.port, http=False, sni=connection.server_name or None, destination_ip=connection.destination)
        peer = Peer(identity=connection.identity, address=connection.address)
        policies = self._inbound.policies
        return decide(request, peer, self._workload, policies, root_namespace=self._root, domains=self._domains).allowed

    def _could_take(self, connection: OpenConnection, upgraded: UpgradedRequest) -> bool:
        request = Request(
            port=connection.port,
            method=upgraded.method,
            host=upgraded.host,
            path=upgraded.path or _ANY_PATH,
            sni=connection.server_name or None,
            destination_ip=connection.destination,
        )
        peer = Peer(identity=connection.identity, address=connection.address, remote_address=upgraded.client or None)
        # The path has been normalized by the sidecar.
        return self._in_favour(upgraded.unknown).judge(observe(request, peer, "NONE")).allowed

    def _in_favour(self, unknown: frozenset[Kind]) -> Ruleset:
        if unknown not in self._rulesets:
            chosen = select_policies(self._workload, self._inbound.policies, root_namespace=self._root)
            policies = (in_its_favour(normalize(policy, self._domains), unknown) for policy in chosen)
            self._rulesets[unknown] = Ruleset(policies, Paths("NONE", self._ambiguous))
        return self._rulesets[unknown]


def mode_of(inbound: Inbound, port: int) -> MtlsMode:
    """The mode of a port of the workload."""
    return next((each.mode for each in inbound.ports if each.number == port), inbound.mode)
