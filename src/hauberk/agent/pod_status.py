"""The status of a pod, built from what the agent has seen: pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hauberk.agent.ipam import GATEWAY_4
from hauberk.api.condition import Condition
from hauberk.api.pod import Pod
from hauberk.api.pod_status import ContainerStatus, Phase, PodIP, PodStatus

SIDECAR_READY = "hauberk.dev/SidecarReady"
_NO_SIDECAR = "its sidecar has no configuration, no certificate, or was ended and is being started again"
_ENDED: tuple[Phase, ...] = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a pod does not come up."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that a pod's status follows from."""

    addresses: tuple[str, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()
    init_containers: tuple[ContainerStatus, ...] = ()
    initialized: bool = False
    sidecar_ready: bool | None = None  # None: the pod has no sidecar
    sidecar_problem: str = ""
    terminating: bool = False
    trouble: Trouble | None = None
    start_time: datetime | None = None


def build_status(pod: Pod, seen: Seen, now: datetime) -> PodStatus:
    """The status; a condition keeps its time of transition as long as it stays what it was in `pod`."""
    phase = build_phase(pod, seen)
    conditions = tuple(_kept(pod.status.condition(each.type), each, now) for each in _conditions(seen, phase))
    return PodStatus(
        phase=phase,
        reason=seen.trouble.reason if seen.trouble else "",
        message=seen.trouble.message if seen.trouble else "",
        pod_ip=seen.addresses[0] if seen.addresses else "",
        pod_ips=tuple(PodIP(ip=address) for address in seen.addresses),
        host_ip=GATEWAY_4 if seen.addresses else "",
        start_time=pod.status.start_time or seen.start_time,
        conditions=conditions,
        container_statuses=seen.containers,
        init_container_statuses=seen.init_containers,
        observed_generation=pod.metadata.generation,
    )


def build_phase(pod: Pod, seen: Seen) -> Phase:
    """Pending until every program has run once, then Running until all have ended for good."""
    if any(_gave_up(pod, each) for each in seen.init_containers):
        return "Failed"
    ended = [each.state.terminated for each in seen.containers if each.state.terminated]
    if len(ended) == len(pod.spec.containers) and all(_is_final(pod, each.exit_code) for each in ended):
        return "Succeeded" if all(each.exit_code == 0 for each in ended) else "Failed"
    begun = [each for each in seen.containers if each.state.running or each.state.terminated or each.last_state.terminated]
    return "Running" if len(begun) == len(pod.spec.containers) else "Pending"


def _is_final(pod: Pod, exit_code: int) -> bool:
    policy = pod.spec.restart_policy
    return policy == "Never" or (policy == "OnFailure" and exit_code == 0)


def _gave_up(pod: Pod, status: ContainerStatus) -> bool:
    terminated = status.state.terminated
    return terminated is not None and terminated.exit_code != 0 and pod.spec.restart_policy == "Never"


def _conditions(seen: Seen, phase: Phase) -> tuple[Condition, ...]:
    waiting = next((each.state.waiting for each in (*seen.init_containers, *seen.containers) if each.state.waiting), None)
    programs = bool(seen.containers) and all(each.ready for each in seen.containers)
    reason, message = _why_not(seen, phase, programs)
    stopped = waiting or seen.trouble
    found = [
        _condition("Initialized", seen.initialized, "" if seen.initialized else "ContainersNotInitialized"),
        _condition("ContainersReady", programs, "" if programs else (stopped.reason if stopped else "ContainersNotReady")),
        _condition("Ready", not reason, reason, (stopped.message if stopped else "") or message),
    ]
    if seen.sidecar_ready is not None:
        found.append(_condition(SIDECAR_READY, seen.sidecar_ready, "" if seen.sidecar_ready else "SidecarNotReady"))
    return tuple(found)


def _why_not(seen: Seen, phase: Phase, programs: bool) -> tuple[str, str]:
    if seen.terminating:
        return "Terminating", "the pod is being ended"
    if phase in _ENDED:
        return "PodCompleted", "all programs have ended"
    if seen.trouble:
        return seen.trouble.reason, seen.trouble.message
    if not programs:
        unready = [each.name for each in seen.containers if not each.ready]
        waiting = next((each.state.waiting for each in (*seen.init_containers, *seen.containers) if each.state.waiting), None)
        reason = waiting.reason if waiting and waiting.reason else "ContainersNotReady"
        return reason, f"not ready: {', '.join(unready)}" if unready else "its programs have not been started"
    if seen.sidecar_ready is False:
        return "SidecarNotReady", seen.sidecar_problem or _NO_SIDECAR
    return "", ""


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Condition:
    status: Literal["True", "False"] = "True" if holds else "False"
    return Condition(type=kind, status=status, reason=reason, message="" if holds else message)


def _kept(before: Condition | None, now_seen: Condition, now: datetime) -> Condition:
    since = before.last_transition_time if before is not None and before.status == now_seen.status else None
    return now_seen.model_copy(update={"last_transition_time": since or now})
