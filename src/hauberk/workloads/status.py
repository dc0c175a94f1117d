"""What a Deployment's status says of its pods: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from hauberk.api.condition import Condition
from hauberk.api.deployment import Deployment, DeploymentStatus
from hauberk.api.pod import Pod
from hauberk.workloads.rollout import Pods, is_available, least_available, sort_pods

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE, UPDATED, EXCEEDED, PAUSED = "NewReplicaSetAvailable", "ReplicaSetUpdated", "ProgressDeadlineExceeded", "DeploymentPaused"

# A container that waits for one of these is on its way; any other reason is worth telling.
_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why pods are missing or do not start."""

    reason: str
    message: str


def build_status(deployment: Deployment, pods: Sequence[Pod], now: datetime, refused: Failure | None = None) -> DeploymentStatus:
    """The status once these are the Deployment's pods; `refused` says why pods that are missing cannot even be made."""
    sorted_ = sort_pods(deployment, pods)
    counted = _count(deployment, sorted_, now)
    failure = refused or _first_failure(sorted_)
    told = [_available(deployment, counted, failure), _progressing(deployment, counted, failure, now)]
    if failure is not None:
        told.append(Condition(type=FAILURE, status="True", reason=failure.reason, message=failure.message))
    conditions = tuple(_dated(deployment.status, condition, now) for condition in told)
    return counted.model_copy(update={"conditions": conditions})


def deadline(deployment: Deployment) -> datetime | None:
    """When a rollout that makes no progress until then counts as stuck; None if none is under way."""
    progressing = condition_of(deployment.status, PROGRESSING)
    if progressing is None or progressing.reason != UPDATED or progressing.last_update_time is None:
        return None
    return progressing.last_update_time + timedelta(seconds=deployment.spec.progress_deadline_seconds)


def condition_of(status: DeploymentStatus, type_: str) -> Condition | None:
    """The condition of that type, if it was ever observed."""
    return next((condition for condition in status.conditions if condition.type == type_), None)


def _count(deployment: Deployment, pods: Pods, now: datetime) -> DeploymentStatus:
    available = sum(is_available(deployment, pod, now) for pod in pods.staying)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=len(pods.staying),
        updated_replicas=len(pods.new),
        ready_replicas=sum(pod.status.ready for pod in pods.staying),
        available_replicas=available,
        unavailable_replicas=max(deployment.spec.replicas - available, 0),
    )


def _available(deployment: Deployment, counted: DeploymentStatus, failure: Failure | None) -> Condition:
    least = least_available(deployment)
    if counted.available_replicas >= least:
        return Condition(type=AVAILABLE, status="True", reason="MinimumReplicasAvailable", message="Enough pods serve.")
    message = f"{counted.available_replicas} of at least {least} pods serve"
    because = f": {failure.message}" if failure else "."
    return Condition(type=AVAILABLE, status="False", reason="MinimumReplicasUnavailable", message=message + because)


def _progressing(deployment: Deployment, counted: DeploymentStatus, failure: Failure | None, now: datetime) -> Condition:
    was = condition_of(deployment.status, PROGRESSING)
    reason = _progress(deployment, counted, was, now)
    status: Literal["True", "False", "Unknown"] = "True"
    if reason == EXCEEDED:
        status = "False"
    elif reason == PAUSED:
        status = "Unknown"
    return Condition(
        type=PROGRESSING,
        status=status,
        reason=reason,
        message=_progress_message(deployment, counted, reason, failure),
        # The deadline counts from the last progress, not from the last time this text changed.
        last_update_time=now if was is None or reason != was.reason or _has_progressed(deployment, counted) else was.last_update_time,
    )


def _progress(deployment: Deployment, counted: DeploymentStatus, was: Condition | None, now: datetime) -> str:
    if deployment.spec.paused:
        return PAUSED
    if _is_complete(deployment, counted):
        return COMPLETE
    # Pods that come and go after a rollout was completed are not a new one.
    if was is not None and was.reason == COMPLETE and deployment.status.observed_generation == counted.observed_generation:
        return COMPLETE
    if was is None or _has_progressed(deployment, counted):
        return UPDATED
    limit = deadline(deployment)
    if was.reason == EXCEEDED or (limit is not None and limit <= now):
        return EXCEEDED
    return UPDATED


def _is_complete(deployment: Deployment, counted: DeploymentStatus) -> bool:
    wanted = deployment.spec.replicas
    return counted.replicas == counted.updated_replicas == wanted and counted.available_replicas >= wanted


def _has_progressed(deployment: Deployment, counted: DeploymentStatus) -> bool:
    was = deployment.status
    old, old_before = counted.replicas - counted.updated_replicas, was.replicas - was.updated_replicas
    return (
        was.observed_generation != counted.observed_generation
        or counted.updated_replicas > was.updated_replicas
        or counted.ready_replicas > was.ready_replicas
        or counted.available_replicas > was.available_replicas
        or old < old_before
    )


def _progress_message(deployment: Deployment, counted: DeploymentStatus, reason: str, failure: Failure | None) -> str:
    if reason == COMPLETE:
        return "All pods are of the present template."
    if reason == PAUSED:
        return "The rollout is paused."
    done = f"{counted.updated_replicas} of {deployment.spec.replicas} pods are of the present template, {counted.available_replicas} serve"
    late = f" after {deployment.spec.progress_deadline_seconds} s without progress" if reason == EXCEEDED else ""
    return f"{done}{late}" + (f": {failure.message}" if failure else ".")


def _first_failure(pods: Pods) -> Failure | None:
    ordered = sorted(pods.staying, key=lambda pod: pod.metadata.name)
    return next((failure for pod in ordered if (failure := pod_failure(pod)) is not None), None)


def pod_failure(pod: Pod) -> Failure | None:
    """Why a pod does not run, in its agent's words; None if it does or is on its way."""
    status = pod.status
    for container in (*status.init_container_statuses, *status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in _ON_ITS_WAY:
            because = f": {waiting.message}" if waiting.message else ""
            return Failure(reason=waiting.reason, message=f"pod {pod.metadata.name}, container {container.name}: {waiting.reason}{because}")
    if status.phase == "Failed":
        told = ": ".join(text for text in (status.reason, status.message) if text)
        return Failure(reason=status.reason or "PodFailed", message=f"pod {pod.metadata.name} failed" + (f": {told}" if told else ""))
    return None


def _dated(before: DeploymentStatus, condition: Condition, now: datetime) -> Condition:
    was = condition_of(before, condition.type)
    same = was is not None and was.status == condition.status
    changed = was.last_transition_time if was is not None and same else now
    if condition.last_update_time is None:
        unchanged = was is not None and (was.reason, was.message, was.status) == (condition.reason, condition.message, condition.status)
        updated = was.last_update_time if was is not None and unchanged else now
    else:
        updated = condition.last_update_time
    return condition.model_copy(update={"last_transition_time": changed, "last_update_time": updated})
