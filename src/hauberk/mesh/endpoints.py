"""Where a service is: the workloads that its selector matches, and whom a client may find there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.api.selector import has_labels
from hauberk.mesh.peer_authentication import Modes
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.mesh.template import Template
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port of a workload; `mtls`: its sidecar expects mutual TLS there."""

    workload: ObjectKey
    service_account: str
    addresses: tuple[str, ...]
    port: int
    mtls: bool


@dataclass(frozen=True, slots=True)
class ServiceEndpoints:
    """`ports`: for each port of the service those endpoints that get new requests."""

    ports: tuple[tuple[MeshPort, tuple[Endpoint, ...]], ...]


@dataclass(frozen=True, slots=True)
class ServicePeers:
    """What of a service's workloads its clients are told once, not at every change of readiness.

    `service_accounts` are those that its pods run as or will run as; `meshed`: every pod has a sidecar; `mtls`: and expects
    mutual TLS on every port of the service.
    """

    service_accounts: tuple[str, ...]
    meshed: bool
    mtls: bool


class Selection:
    """Workloads of one namespace by label, so that a thousand selectors cost a thousand look-ups."""

    def __init__(self, workloads: Iterable[Workload]) -> None:
        found: dict[tuple[str, str], list[Workload]] = {}
        for workload in workloads:
            for label in workload.labels.items():
                found.setdefault(label, []).append(workload)
        self._by_label = found

    def of(self, selector: Mapping[str, str]) -> tuple[Workload, ...]:
        """Workloads that `selector` matches, in the order given; a Service without selector selects none."""
        if not selector:
            return ()
        candidates = min((self._by_label.get(label, []) for label in selector.items()), key=len)
        if len(selector) == 1:
            return tuple(candidates)
        return tuple(workload for workload in candidates if has_labels(workload.labels, selector))


def build_endpoints(service: MeshService, *selected: Workload | Modes) -> ServiceEndpoints:
    """Endpoints of `service`; `selected` are its workloads, each followed by its modes."""
    found = [(w, m) for w, m in _pairs(selected) if w.addresses and w.serving and (w.ready or service.publish_not_ready)]
    return ServiceEndpoints(tuple((port, _endpoints(port, found)) for port in service.ports))


def _endpoints(port: MeshPort, workloads: list[tuple[Workload, Modes]]) -> tuple[Endpoint, ...]:
    numbered = ((workload, modes, port.number_on(workload)) for workload, modes in workloads)
    return tuple(
        Endpoint(w.key, w.service_account, w.addresses, number, _expects_mtls(w, modes, number))
        for w, modes, number in numbered
        if number is not None
    )


def build_peers(service: MeshService, templates: tuple[Template, ...], *selected: Workload | Modes) -> ServicePeers:
    """Who answers for `service`: its workloads, ready or not, and the templates of those that may come.

    Counting what is not ready yet keeps clusters as they are when pods come and go: clients are told of endpoints only.
    """
    pairs = [(w, m) for w, m in _pairs(selected) if w.serving]
    coming = [template for template in templates if service.selector and has_labels(template.labels, service.selector)]
    accounts = {w.service_account for w, _ in pairs} | {template.service_account for template in coming}
    return ServicePeers(
        service_accounts=tuple(sorted(accounts)),
        meshed=all(workload.meshed for workload, _ in pairs),
        mtls=all(_expects_everywhere(service, workload, modes) for workload, modes in pairs),
    )


def _expects_everywhere(service: MeshService, workload: Workload, modes: Modes) -> bool:
    numbers = (port.number_on(workload) for port in service.ports)
    return workload.meshed and all(_expects_mtls(workload, modes, number) for number in numbers if number is not None)


def _expects_mtls(workload: Workload, modes: Modes, port: int) -> bool:
    return workload.meshed and modes.of(port) is not MtlsMode.DISABLE


def _pairs(selected: tuple[Workload | Modes, ...]) -> list[tuple[Workload, Modes]]:
    workloads = [each for each in selected[::2] if isinstance(each, Workload)]
    modes = [each for each in selected[1::2] if isinstance(each, Modes)]
    return list(zip(workloads, modes, strict=True))
