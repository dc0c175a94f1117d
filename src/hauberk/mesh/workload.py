"""Workloads: pods as the mesh sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from hauberk.api.metadata import ObjectKey
from hauberk.api.pod import Pod

INJECT = "sidecar.istio.io/inject"
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Workload:
    """A running program with an identity. `addresses` is empty until the pod has a network, IPv4 first.

    `serving`: new requests may be sent to it. `meshed`: it has a sidecar. `ports` are the named ports of its containers.
    """

    key: ObjectKey
    service_account: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    ports: Mapping[str, int]
    ready: bool
    serving: bool
    meshed: bool
    hostname: str
    subdomain: str

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def name(self) -> str:
        return self.key.name


def build_workload(pod: Pod) -> Workload:
    """The workload that `pod` is."""
    leaving = pod.metadata.deletion_timestamp is not None or pod.status.phase in _ENDED
    ready = pod.status.ready and not leaving
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    return Workload(
        key=pod.key,
        service_account=pod.spec.service_account_name,
        addresses=() if pod.status.phase in _ENDED else _addresses(pod),
        labels=pod.metadata.labels,
        ports={port.name: port.container_port for container in containers for port in container.ports if port.name},
        ready=ready,
        serving=not leaving,
        meshed=is_meshed(pod),
        hostname=pod.spec.hostname,
        subdomain=pod.spec.subdomain,
    )


def is_meshed(pod: Pod) -> bool:
    """Whether `pod` gets a sidecar: unless its label or annotation says no."""
    asked = pod.metadata.labels.get(INJECT, pod.metadata.annotations.get(INJECT, "true"))
    return asked.strip().lower() != "false"


def _addresses(pod: Pod) -> tuple[str, ...]:
    found = dict.fromkeys((pod.status.pod_ip, *(each.ip for each in pod.status.pod_ips)))
    return tuple(sorted((text for text in found if text), key=_version))


def _version(address: str) -> int:
    return ip_address(address).version
