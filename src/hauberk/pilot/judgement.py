"""Whether connections of bytes that are open would be taken if they were made now: by the same engine that predicts and explains.

What nobody here can know is not held against a connection: what an external authorizer says, or that its pod is gone; nor of a request
that was upgraded (a WebSocket) its headers and its token, which nobody has kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.inbound import Inbound
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.attribute import Kind
from hauberk.policy.decision import select_policies
from hauberk.policy.facts import observe
from hauberk.policy.normalize import normalize
from hauberk.policy.partly_known import in_its_favour
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.ruleset import Paths, Ruleset
from hauberk.policy.trust_domains import TrustDomains

_NEVER_KNOWN: Final = frozenset({Kind.HEADER, Kind.REQUEST_PRINCIPAL, Kind.CLAIM, Kind.METADATA})
_ANY_PATH: Final = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradedRequest:
    """What an open connection began as. `path` is as it was judged; it and `host` are empty if they are not known."""

    method: str
    host: str = ""
    path: str = ""
    client: str = ""

    @property
    def unknown(self) -> frozenset[Kind]:
        """What nobody knows of it."""
        lost = ((Kind.HOST, self.host), (Kind.PATH, self.path))
        return _NEVER_KNOWN.union(kind for kind, text in lost if not text)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConnection:
    """A connection to the port `port` of a pod; `identity` is the caller's SPIFFE ID, None without mutual TLS."""

    identity: str | None
    address: str
    destination: str
    port: int
    server_name: str = ""
    request: UpgradedRequest | None = None


def judge(snapshot: MeshSnapshot, pod: ObjectKey, connections: Sequence[OpenConnection], former: Sequence[str] = ()) -> tuple[bool, ...]:
    """For each of `connections` to `pod` whether it may go on.

    `former`: trust domains that were the mesh's own. Who connected under one of them is who he was: that the mesh has another name by
    now is no policy that tightens.
    """
    inbound, workload = snapshot.inbound.get(pod), snapshot.workloads.get(pod)
    if inbound is None or workload is None:
        return (True,) * len(connections)
    asked = _Asked(snapshot, inbound, Workload(namespace=pod.namespace, labels=workload.labels), former)
    return tuple(map(asked.may_go_on, connections))


class _Asked:
    """The policies and modes of one workload."""

    def __init__(self, snapshot: MeshSnapshot, inbound: Inbound, workload: Workload, former: Sequence[str]) -> None:
        config, root = snapshot.config, snapshot.settings.root_namespace
        foreign = snapshot.settings.foreign_trust_domains
        names = (*config.trust_domain_aliases, *(name for name in former if name not in foreign))
        self._inbound = inbound
        self._domains = TrustDomains(config.trust_domain, names, foreign)
        self._policies = select_policies(workload, inbound.policies, root_namespace=root)
        # Paths have been normalized by the sidecar.
        self._paths = Paths("NONE", config.hauberk.ambiguous_paths == "ALLOW")
        # Made once for all connections: thousands may be asked about.
        self._rulesets: dict[frozenset[Kind], Ruleset] = {}

    def may_go_on(self, connection: OpenConnection) -> bool:
        if connection.identity is None and mode_of(self._inbound, connection.port) is MtlsMode.STRICT:
            return False
        upgraded = connection.request
        client = upgraded.client or None if upgraded is not None else None
        peer = Peer(identity=connection.identity, address=connection.address, remote_address=client)
        ruleset = self._ruleset(upgraded.unknown if upgraded is not None else frozenset())
        return ruleset.judge(observe(_request(connection, upgraded), peer, self._paths.level)).allowed

    def _ruleset(self, unknown: frozenset[Kind]) -> Ruleset:
        if unknown not in self._rulesets:
            policies = (in_its_favour(normalize(policy, self._domains), unknown) for policy in self._policies)
            self._rulesets[unknown] = Ruleset(policies, self._paths)
        return self._rulesets[unknown]


def _request(connection: OpenConnection, upgraded: UpgradedRequest | None) -> Request:
    made = Request(
        port=connection.port, http=upgraded is not None, sni=connection.server_name or None, destination_ip=connection.destination
    )
    if upgraded is None:
        return made
    return replace(made, method=upgraded.method, host=upgraded.host, path=upgraded.path or _ANY_PATH)


def mode_of(inbound: Inbound, port: int) -> MtlsMode:
    """The mode of a port of the workload."""
    return next((each.mode for each in inbound.ports if each.number == port), inbound.mode)
