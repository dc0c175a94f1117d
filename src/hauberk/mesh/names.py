"""Names that pods can resolve: services, and the pods of headless ones."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.mesh.service import MeshService
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class NamedEndpoint:
    """A pod behind a headless name; `hostname` is its own name below the service's, if it has one."""

    hostname: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameEntry:
    """What `name.namespace` resolves to: `addresses`, or the addresses of all `endpoints` if it is headless."""

    addresses: tuple[str, ...]
    headless: bool
    endpoints: tuple[NamedEndpoint, ...] = ()


def build_name(service: MeshService, *selected: Workload) -> NameEntry:
    """The entry of `service`."""
    if not service.headless:
        return NameEntry(service.addresses, headless=False)
    serving = (w for w in selected if w.addresses and w.serving and (w.ready or service.publish_not_ready))
    endpoints = (NamedEndpoint(w.hostname if w.subdomain == service.key.name else "", w.addresses) for w in serving)
    return NameEntry((), headless=True, endpoints=tuple(endpoints))
