"""When waiting is in vain."""

from typing import Any

from hauberk.cli.progress import hopeless


def _pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web-1", "namespace": "shop"}, "spec": {}, "status": status}


def _waiting(reason: str, message: str = "", restarts: int = 0) -> dict[str, Any]:
    return _pod(containerStatuses=[{"restartCount": restarts, "state": {"waiting": {"reason": reason, "message": message}}}])


def test_a_program_that_does_not_exist_is_told_at_once() -> None:
    failure = hopeless([_waiting("ProgramNotFound", "there is no program 'sevrer'")])
    assert failure is not None
    assert (failure.what, failure.why) == ("pod web-1 cannot start: ProgramNotFound", "there is no program 'sevrer'")


def test_a_container_that_is_being_made_is_waited_for() -> None:
    assert hopeless([_waiting("ContainerCreating")]) is None


def test_a_program_that_failed_once_may_only_have_been_early() -> None:
    assert hopeless([_waiting("CrashLoopBackOff")]) is None
    assert hopeless([_waiting("CrashLoopBackOff", restarts=1)]) is not None
