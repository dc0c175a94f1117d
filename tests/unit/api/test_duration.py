"""Durations as text and back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.api.duration import format_duration, parse_duration


def test_units_add_up() -> None:
    assert parse_duration("1h30m") == timedelta(hours=1.5)
    assert parse_duration("1.5s") == timedelta(milliseconds=1500)
    assert parse_duration("0") == parse_duration("0s") == timedelta()


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1d", "1h-1m", "1" * 50 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_duration_survives_being_text(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration
