import pytest

from hauberk.citadel.rate_limit import RateLimit, TooMany


def taken(limit: RateLimit, caller: str, now: float, times: int) -> int:
    """How many of so many attempts were granted."""
    granted = 0
    for _ in range(times):
        try:
            limit.take(caller, now)
        except TooMany:
            continue
        granted += 1
    return granted


def test_a_burst_is_granted_and_then_as_much_as_time_brings() -> None:
    limit = RateLimit(rate=10, burst=5)
    assert taken(limit, "a", 0.0, 20) == 5
    assert taken(limit, "a", 0.35, 20) == 3
    assert taken(limit, "a", 100.0, 20) == 5


def test_callers_do_not_share() -> None:
    limit = RateLimit(rate=1, burst=1)
    assert taken(limit, "a", 0.0, 1000) == 1
    assert taken(limit, "b", 0.0, 1) == 1


def test_whoever_is_refused_hears_when_to_come_again() -> None:
    limit = RateLimit(rate=4, burst=1)
    limit.take("a", 10.0)
    with pytest.raises(TooMany) as refused:
        limit.take("a", 10.0)
    assert refused.value.retry_after == pytest.approx(0.25)
    limit.take("a", 10.0 + refused.value.retry_after)


def test_being_refused_costs_nothing() -> None:
    limit = RateLimit(rate=1, burst=1)
    assert taken(limit, "a", 0.0, 100) == 1
    assert taken(limit, "a", 1.0, 100) == 1


def test_callers_without_number_do_not_fill_the_memory() -> None:
    limit = RateLimit(rate=1000, burst=1)
    for number in range(30_000):
        limit.take(str(number), float(number))
    assert len(limit._buckets) <= 10_001


def test_what_is_given_back_can_be_taken_again() -> None:
    limit = RateLimit(rate=1, burst=2)
    assert taken(limit, "a", 0.0, 9) == 2
    limit.give_back("a")
    assert taken(limit, "a", 0.0, 9) == 1
