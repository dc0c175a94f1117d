"""What all pods of one agent share, and what is found of a pod that an agent before this one had started."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hauberk.agent.config_maps import ConfigMapReader
from hauberk.agent.ipam import AddressBook
from hauberk.agent.network import PodNetwork
from hauberk.agent.settings import AgentSettings
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.sidecar_state import SidecarState
from hauberk.api.pod import Pod
from hauberk.kit.clock import Clock
from hauberk.kit.places import Places
from hauberk.kit.unix_http import AsyncUnixHttp
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process


class SidecarKeeper(Protocol):
    """What a pod's life needs of the sidecars."""

    async def start(self, pod: PodRef) -> None:
        """The pod's Envoy runs, has its certificate and its configuration."""

    async def drain(self, uid: str) -> None:
        """Callers were told to send their next requests elsewhere."""

    async def stop(self, uid: str) -> None:
        """Nothing of the sidecar is left."""

    def state(self, uid: str) -> SidecarState | None:
        """What is known of the sidecar now."""


class WorkloadKeeper(Protocol):
    """What a pod's life needs of the Workload API."""

    async def open(self, pod: PodRef, network: int) -> None:
        """The pod's programs are answered at its socket; `network` is a descriptor of its network namespace."""

    async def close(self, uid: str) -> None:
        """Nothing of the pod's socket is left."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything outside a pod that its life depends on."""

    launcher: Launcher
    api: AsyncUnixHttp
    places: Places
    settings: AgentSettings
    clock: Clock
    sidecars: SidecarKeeper
    workloads: WorkloadKeeper
    network: PodNetwork
    addresses: AddressBook
    config_maps: ConfigMapReader
    slots: asyncio.Semaphore
    node: str
    rootless: bool
    inherited: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the launcher holds of a pod: its processes by the second part of their names, and whether it has its network."""

    processes: Mapping[str, Process] = field(default_factory=dict)
    network: bool = False


def reference(pod: Pod, addresses: tuple[str, ...], node: str) -> PodRef:
    """The pod as its sidecar knows it."""
    return PodRef(
        uid=pod.metadata.uid,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        service_account=pod.spec.service_account_name,
        network=pod.metadata.uid,
        addresses=addresses,
        labels=pod.metadata.labels,
        annotations=pod.metadata.annotations,
        node=node,
    )
