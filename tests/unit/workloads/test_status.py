from datetime import timedelta
from typing import Any

from tests.unit.workloads.makers import NOW, deployment, pod

from hauberk.api.deployment import Deployment, DeploymentStatus
from hauberk.api.pod import Pod
from hauberk.api.pod_status import ContainerState, ContainerStatus, PodStatus, Waiting
from hauberk.workloads.status import Failure, build_status, condition_of, deadline


def told(status: DeploymentStatus, type_: str) -> tuple[str, str]:
    condition = condition_of(status, type_)
    assert condition is not None
    return condition.status, condition.reason


def after(wanted: Deployment, pods: list[Pod], seconds: int = 0, **more: Any) -> Deployment:
    return wanted.model_copy(update={"status": build_status(wanted, pods, NOW + timedelta(seconds=seconds), **more)})


def test_pods_are_counted_by_what_they_do() -> None:
    status = build_status(deployment(3), [pod("a"), pod("b", ready=False), pod("c", version="v1"), pod("d", going=True)], NOW)
    counted = (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas, status.unavailable_replicas)
    assert counted == (3, 2, 2, 2, 1)
    assert status.observed_generation == 1


def test_a_finished_rollout_says_so_and_stays_finished_when_pods_stumble() -> None:
    done = after(deployment(2), [pod("a"), pod("b")])
    assert (told(done.status, "Available"), told(done.status, "Progressing")) == (
        ("True", "MinimumReplicasAvailable"),
        ("True", "NewReplicaSetAvailable"),
    )
    stumbled = after(done, [pod("a"), pod("b", ready=False)], 5000)
    assert (told(stumbled.status, "Available"), told(stumbled.status, "Progressing")) == (
        ("False", "MinimumReplicasUnavailable"),
        ("True", "NewReplicaSetAvailable"),
    )


def test_a_rollout_without_progress_is_stuck_after_its_deadline() -> None:
    wanted = deployment(1, progressDeadlineSeconds=60)
    begun = after(wanted, [pod("a", ready=False)])
    assert deadline(begun) == NOW + timedelta(seconds=60)
    assert told(after(begun, [pod("a", ready=False)], 59).status, "Progressing") == ("True", "ReplicaSetUpdated")
    stuck = after(begun, [pod("a", ready=False)], 60)
    assert told(stuck.status, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert deadline(stuck) is None
    assert told(after(stuck, [pod("a", ready=False)], 600).status, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert told(after(stuck, [pod("a")], 601).status, "Progressing") == ("True", "NewReplicaSetAvailable")


def test_progress_moves_the_deadline() -> None:
    wanted = deployment(2, progressDeadlineSeconds=60)
    begun = after(wanted, [pod("a", ready=False), pod("b", ready=False)])
    further = after(begun, [pod("a"), pod("b", ready=False)], 50)
    assert deadline(further) == NOW + timedelta(seconds=110)


def test_a_status_that_says_the_same_is_the_same() -> None:
    first = after(deployment(2), [pod("a"), pod("b", ready=False)])
    assert after(first, [pod("a"), pod("b", ready=False)], 30).status == first.status


def waiting(reason: str, message: str) -> Pod:
    state = ContainerState(waiting=Waiting(reason=reason, message=message))
    return pod("a", ready=False).model_copy(update={"status": PodStatus(container_statuses=(ContainerStatus(name="web", state=state),))})


def test_a_program_that_does_not_exist_is_told_in_the_deployments_conditions() -> None:
    status = build_status(deployment(1), [waiting("CreateContainerError", "there is no program /nope")], NOW)
    failure = condition_of(status, "ReplicaFailure")
    assert failure is not None
    assert (failure.status, failure.reason) == ("True", "CreateContainerError")
    available = condition_of(status, "Available")
    assert available is not None
    assert available.message == "0 of at least 1 pods serve: pod a, container web: CreateContainerError: there is no program /nope"


def test_a_container_that_is_on_its_way_is_no_failure() -> None:
    assert condition_of(build_status(deployment(1), [waiting("ContainerCreating", "")], NOW), "ReplicaFailure") is None


def test_pods_that_may_not_be_made_are_told() -> None:
    status = build_status(deployment(1), [], NOW, Failure(reason="FailedCreate", message="there is no ServiceAccount web"))
    assert told(status, "ReplicaFailure") == ("True", "FailedCreate")


def test_a_paused_deployment_says_so() -> None:
    assert told(build_status(deployment(1, paused=True), [], NOW), "Progressing") == ("Unknown", "DeploymentPaused")
