"""What the agent has observed of a pod."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from hauberk.api.condition import Condition
from hauberk.api.model import ApiModel, Bool, Int

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


class PodIP(ApiModel):
    """One address of the pod."""

    ip: str


class Waiting(ApiModel):
    """Not running yet, or not again."""

    reason: str = ""
    message: str = ""


class Running(ApiModel):
    """Runs since then."""

    started_at: datetime | None = None


class Terminated(ApiModel):
    """Has ended: with an exit code, or by a signal."""

    exit_code: Int
    signal: Int | None = None
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(ApiModel):
    """Exactly one of three; none of them before anything was tried."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(ApiModel):
    """State of one container."""

    name: str
    ready: Bool = False
    started: Bool | None = None
    restart_count: Int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    image: str = ""
    image_id: str = ""
    container_id: str = ""


class PodStatus(ApiModel):
    """State of a pod."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"qosClass", "nominatedNodeName", "resize", "ephemeralContainerStatuses"})

    phase: Phase = "Pending"
    reason: str = ""
    message: str = ""
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    host_ip: str = ""
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    observed_generation: Int | None = None

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if it was ever observed."""
        return next((each for each in self.conditions if each.type == type_), None)

    @property
    def ready(self) -> bool:
        """Programs and sidecar are ready for requests."""
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"
