"""Services as the mesh sees them: a host name, addresses, and ports whose protocol is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hauberk.api.metadata import ObjectKey
from hauberk.api.service import HEADLESS, Service
from hauberk.mesh.protocol import Protocol, port_protocol
from hauberk.mesh.workload import Workload

# An object that the store has not stamped yet is younger than all others.
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MeshPort:
    """A TCP port of a service; `target` is a number or the name of a container's port."""

    name: str
    port: int
    target: int | str
    protocol: Protocol

    def number_on(self, workload: Workload) -> int | None:
        """The port that `workload` listens on for this one, unless it has no container port of that name."""
        return self.target if isinstance(self.target, int) else workload.ports.get(self.target)


@dataclass(frozen=True, slots=True)
class MeshService:
    """A named destination. `addresses` are its virtual ones, none if it is headless."""

    key: ObjectKey
    host: str
    addresses: tuple[str, ...]
    ports: tuple[MeshPort, ...]
    selector: Mapping[str, str]
    publish_not_ready: bool
    created: datetime

    @property
    def headless(self) -> bool:
        return not self.addresses

    def short_names(self, cluster_domain: str) -> tuple[str, str]:
        """`name.namespace` and `name.namespace.svc`."""
        qualified = self.host.removesuffix(f".{cluster_domain}")
        return qualified.removesuffix(".svc"), qualified

    @property
    def age(self) -> tuple[datetime, str, str]:
        """Sorts the oldest first: of two that claim one port, the older has it."""
        return self.created, self.key.name, self.key.namespace


def build_service(service: Service, cluster_domain: str) -> MeshService:
    """The destination that `service` declares; ports that are not TCP are none of a mesh's business."""
    ports = (MeshPort(p.name, p.port, p.target_port, port_protocol(p)) for p in service.spec.ports if p.protocol == "TCP")
    return MeshService(
        key=service.key,
        host=f"{service.metadata.name}.{service.metadata.namespace}.svc.{cluster_domain}",
        addresses=_addresses(service),
        # `name: udp-…` on a TCP port is a contradiction that Kubernetes allows; it is bytes to us.
        ports=tuple(ports),
        selector=service.spec.selector,
        publish_not_ready=service.spec.publish_not_ready_addresses,
        created=service.metadata.creation_timestamp or NEVER,
    )


def with_own_addresses(services: Mapping[ObjectKey, MeshService]) -> Mapping[ObjectKey, MeshService]:
    """Of services that claim one address the oldest has it; the others go without.

    An address that stood twice in one configuration would make a proxy refuse all of it.
    """
    owners: dict[str, MeshService] = {}
    for service in sorted(services.values(), key=_age):
        for address in service.addresses:
            owners.setdefault(address, service)
    return {key: _with_own_addresses(service, owners) for key, service in services.items()}


def _with_own_addresses(service: MeshService, owners: Mapping[str, MeshService]) -> MeshService:
    own = tuple(address for address in service.addresses if owners[address] is service)
    return service if own == service.addresses else replace(service, addresses=own)


def _age(service: MeshService) -> tuple[datetime, str, str]:
    return service.age


def _addresses(service: Service) -> tuple[str, ...]:
    spec = service.spec
    found = dict.fromkeys((*([spec.cluster_ip] if spec.cluster_ip else []), *spec.cluster_ips))
    return () if HEADLESS in found else tuple(address for address in found if address)
