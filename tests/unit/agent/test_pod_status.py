"""A pod's status, from what was seen of it."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.agent.pod_objects import pod

from hauberk.agent.pod_status import SIDECAR_READY, Seen, Trouble, build_phase, build_status
from hauberk.api.pod import Pod
from hauberk.api.pod_status import ContainerState, ContainerStatus, PodStatus, Running, Terminated, Waiting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def running(name: str = "main", *, ready: bool = True) -> ContainerStatus:
    return ContainerStatus(name=name, ready=ready, started=True, state=ContainerState(running=Running()))


def ended(code: int, name: str = "main") -> ContainerStatus:
    return ContainerStatus(name=name, state=ContainerState(terminated=Terminated(exit_code=code)))


def waiting(reason: str) -> ContainerStatus:
    return ContainerStatus(name="main", state=ContainerState(waiting=Waiting(reason=reason, message="because")))


def status(seen: Seen, before: Pod | None = None, now: datetime = NOW) -> PodStatus:
    return build_status(before or pod(), seen, now)


def ready(found: PodStatus) -> tuple[str, str]:
    condition = found.condition("Ready")
    assert condition is not None
    return condition.status, condition.reason


def test_a_pod_is_ready_when_its_programs_and_its_sidecar_are() -> None:
    assert status(Seen(containers=(running(),), initialized=True, sidecar_ready=True)).ready


def test_a_pod_outside_the_mesh_needs_no_sidecar() -> None:
    found = status(Seen(containers=(running(),), initialized=True, sidecar_ready=None))
    assert found.ready
    assert found.condition(SIDECAR_READY) is None


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Seen(), "ContainersNotReady"),
        (Seen(containers=(running(ready=False),)), "ContainersNotReady"),
        (Seen(containers=(waiting("ProgramNotFound"),)), "ProgramNotFound"),
        (Seen(containers=(running(),), sidecar_ready=False), "SidecarNotReady"),
        (Seen(containers=(running(),), sidecar_ready=True, terminating=True), "Terminating"),
        (Seen(containers=(running(),), trouble=Trouble(reason="EnvoyMissing", message="no Envoy")), "EnvoyMissing"),
        (Seen(init_containers=(waiting("CrashLoopBackOff"),)), "CrashLoopBackOff"),
    ],
)
def test_a_pod_that_is_not_ready_says_why(seen: Seen, reason: str) -> None:
    assert ready(status(seen)) == ("False", reason)


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Always", 0, "Running"),
    ],
)
def test_the_phase_after_the_end_follows_from_the_policy(policy: str, code: int, phase: str) -> None:
    assert build_phase(pod(restartPolicy=policy), Seen(containers=(ended(code),))) == phase


def test_a_pod_is_pending_until_every_program_has_run() -> None:
    two = pod({"name": "a", "command": ["a"]}, {"name": "b", "command": ["b"]})
    assert build_phase(two, Seen(containers=(running("a"),))) == "Pending"
    assert build_phase(two, Seen(containers=(running("a"), running("b")))) == "Running"


def test_a_failed_init_container_fails_a_pod_that_is_not_restarted() -> None:
    assert build_phase(pod(restartPolicy="Never"), Seen(init_containers=(ended(1),))) == "Failed"


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    seen = Seen(containers=(running(),), initialized=True)
    first = pod().model_copy(update={"status": status(seen)})
    same = status(seen, first, LATER).condition("Ready")
    turned = status(Seen(containers=(running(ready=False),), initialized=True), first, LATER).condition("Ready")
    assert same is not None
    assert turned is not None
    assert (same.last_transition_time, turned.last_transition_time) == (NOW, LATER)


def test_addresses_are_told_ipv4_first() -> None:
    found = status(Seen(addresses=("10.244.0.2", "fd00::2")))
    assert (found.pod_ip, [each.ip for each in found.pod_ips]) == ("10.244.0.2", ["10.244.0.2", "fd00::2"])


def test_why_a_sidecar_is_not_ready_is_said_in_its_own_words() -> None:
    found = status(Seen(containers=(running(),), initialized=True, sidecar_ready=False, sidecar_problem="its certificate ended at noon"))
    condition = found.condition("Ready")
    assert condition is not None
    assert (condition.reason, condition.message) == ("SidecarNotReady", "its certificate ended at noon")
