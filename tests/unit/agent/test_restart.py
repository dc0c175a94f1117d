"""Whether a container is started again, and when."""

import pytest

from hauberk.agent.restart import RestartPolicy, build_backoff, read_ending, restarts
from hauberk.agent.settings import AgentSettings


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 0, False), ("Never", 1, False)],
)
def test_the_policy_decides(policy: RestartPolicy, code: int, again: bool) -> None:
    assert restarts(policy, code) is again


def test_the_first_restart_is_at_once_and_the_others_wait_ever_longer() -> None:
    backoff = build_backoff(AgentSettings())
    assert [backoff.delay(failures) for failures in (1, 2, 3, 4, 20)] == [0, 10, 20, 40, 300]


def test_ten_good_minutes_forgive_earlier_failures() -> None:
    assert build_backoff(AgentSettings()).failures_after(7, lasted=601) == 1


def test_an_exit_code_and_a_signal_are_told_as_shells_do() -> None:
    ended, killed = read_ending(3 << 8), read_ending(9)
    assert (ended.exit_code, ended.signal, ended.reason) == (3, None, "Error")
    assert (killed.exit_code, killed.signal, killed.reason) == (137, 9, "Error")


def test_an_end_in_order_and_one_for_bad_health_have_their_own_words() -> None:
    assert read_ending(0).reason == "Completed"
    assert read_ending(15, unhealthy=True).reason == "Unhealthy"
