"""Whose clock is wrong."""

from datetime import timedelta

from hauberk.citadel.skew import HERE, find_skews


def wrong(**ahead: int) -> dict[str, float]:
    found = find_skews({node: timedelta(seconds=seconds) for node, seconds in ahead.items()})
    return {skew.node: skew.ahead.total_seconds() for skew in found}


def test_clocks_that_agree_within_the_tolerance_are_right() -> None:
    assert wrong() == {}
    assert wrong(a=9, b=-9, c=0) == {}


def test_of_two_that_disagree_ours_counts() -> None:
    assert wrong(a=3600) == {"a": 3600}
    assert wrong(a=-3600) == {"a": -3600}


def test_one_among_many_is_wrong_itself() -> None:
    assert wrong(a=0, b=1, c=-600) == {"c": -600}


def test_where_all_others_agree_it_is_ours() -> None:
    assert wrong(a=3600, b=3601, c=3600) == {HERE: -3600}


def test_where_half_agree_with_us_it_is_theirs() -> None:
    assert wrong(a=0, b=3600, c=3600) == {"b": 3600, "c": 3600}


def test_it_is_told_in_words() -> None:
    (skew,) = find_skews({"a": timedelta(seconds=-75)})
    assert str(skew) == "the clock of node a is 75 s behind: set it (or run an NTP client)"
    ours = find_skews(dict.fromkeys("abc", timedelta(hours=1)))[0]
    assert "the clock of the control plane's machine is 3600 s behind" in str(ours)
