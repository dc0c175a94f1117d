"""Delays grow, are bounded, and are forgotten after a success that lasted."""

from hypothesis import given
from hypothesis import strategies as st

from hauberk.kit.backoff import Backoff

KUBERNETES = Backoff(first=10, limit=300, immediate=1, reset_after=600)


def test_delays_double_up_to_the_limit() -> None:
    assert [KUBERNETES.delay(failures) for failures in range(8)] == [0, 0, 10, 20, 40, 80, 160, 300]


def test_a_run_that_lasted_long_enough_starts_anew() -> None:
    assert KUBERNETES.failures_after(7, lasted=599) == 8
    assert KUBERNETES.failures_after(7, lasted=600) == 1


@given(st.integers(0, 10**9), st.floats(-1, 1))
def test_a_delay_is_never_negative_and_hardly_more_than_the_limit(failures: int, jitter: float) -> None:
    assert 0 <= KUBERNETES.delay(failures, jitter) <= 330
