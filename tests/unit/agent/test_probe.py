"""When answers change what is thought of a container."""

import pytest

from hauberk.agent.probe import Health, early_delays
from hauberk.api.probe import Probe


def after(answers: str, **settings: int) -> bool | None:
    probe = Probe.model_validate({"tcpSocket": {"port": 80}, **settings})
    health = Health()
    for answer in answers:
        health = health.after(answer == "+", probe)
    return health.good


@pytest.mark.parametrize(
    ("answers", "good"), [("", None), ("+", True), ("-", None), ("--", None), ("---", False), ("--+", True), ("---+", True), ("+--", True)]
)
def test_three_failures_and_one_success_are_what_it_takes(answers: str, good: bool | None) -> None:
    assert after(answers) is good


def test_successes_must_come_in_a_row() -> None:
    assert after("+-+", successThreshold=2) is None
    assert after("+-++", successThreshold=2) is True


def test_one_failure_can_be_enough() -> None:
    assert after("+-", failureThreshold=1) is False


@pytest.mark.parametrize("period", [0.02, 1, 10, 60])
def test_early_questions_fill_exactly_one_period(period: float) -> None:
    delays = early_delays(period)
    assert sum(delays) == pytest.approx(period)
    assert min(delays) > 0


def test_a_program_that_just_started_is_asked_again_soon() -> None:
    assert early_delays(10)[0] < 0.1
