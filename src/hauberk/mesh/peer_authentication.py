"""Effective PeerAuthentication: which mode of mutual TLS holds for each port of each workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hauberk.api.peer_authentication import MtlsMode, PeerAuthentication
from hauberk.api.selector import has_labels
from hauberk.mesh.service import NEVER
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of one workload: `ports` (its own port numbers) where they differ in origin, `default` for all others.

    `origins` are the policies that had a say.
    """

    default: MtlsMode
    ports: tuple[tuple[int, MtlsMode], ...] = ()
    origins: tuple[str, ...] = ()

    def of(self, port: int) -> MtlsMode:
        return next((mode for number, mode in self.ports if number == port), self.default)


@dataclass(frozen=True, slots=True)
class PeerAuthentications:
    """The policies that count: of each level only the oldest."""

    mesh: PeerAuthentication | None
    namespaces: Mapping[str, PeerAuthentication]
    selecting: Mapping[str, tuple[PeerAuthentication, ...]] = field(repr=False)


def build_peer_authentications(root_namespace: str, *policies: PeerAuthentication) -> PeerAuthentications:
    """Index of `policies`."""
    mesh: PeerAuthentication | None = None
    namespaces: dict[str, PeerAuthentication] = {}
    selecting: dict[str, list[PeerAuthentication]] = {}
    for policy in _oldest_first(policies):
        namespace = policy.metadata.namespace
        # In the root namespace too a policy with a selector is about workloads of that namespace only.
        if policy.spec.selector.match_labels:
            selecting.setdefault(namespace, []).append(policy)
        elif namespace == root_namespace:
            mesh = mesh or policy
        else:
            namespaces.setdefault(namespace, policy)
    return PeerAuthentications(mesh, namespaces, {namespace: tuple(found) for namespace, found in selecting.items()})


def effective_modes(workload: Workload, index: PeerAuthentications) -> Modes:
    """The modes of `workload`: port, workload, namespace, mesh; UNSET asks the next, and the last answer is PERMISSIVE."""
    own = _own(workload, index)
    levels = [policy for policy in (own, index.namespaces.get(workload.namespace), index.mesh) if policy is not None]
    default = next((p.spec.mtls.mode for p in levels if p.spec.mtls.mode is not MtlsMode.UNSET), MtlsMode.PERMISSIVE)
    by_port = own.spec.port_level_mtls if own is not None else {}
    ports = tuple((port, default if mtls.mode is MtlsMode.UNSET else mtls.mode) for port, mtls in sorted(by_port.items()))
    return Modes(default, ports, tuple(str(policy.key) for policy in levels))


def _own(workload: Workload, index: PeerAuthentications) -> PeerAuthentication | None:
    candidates = index.selecting.get(workload.namespace, ())
    return next((policy for policy in candidates if has_labels(workload.labels, policy.spec.selector.match_labels)), None)


def _oldest_first(policies: Iterable[PeerAuthentication]) -> list[PeerAuthentication]:
    return sorted(policies, key=lambda p: (p.metadata.creation_timestamp or NEVER, p.metadata.name, p.metadata.namespace))
