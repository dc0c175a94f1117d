"""Lives of certificates as settings."""

from datetime import timedelta

import pytest

from hauberk.citadel.settings import CitadelSettings, InvalidLifetime, parse_lifetime, read_settings


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        ("24h", timedelta(hours=24)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("4s", timedelta(seconds=4)),
        ("1.5s", timedelta(seconds=1.5)),
        ("1500ms", timedelta(seconds=1.5)),
        ("2d", timedelta(days=2)),
    ],
)
def test_a_length_of_time_is_understood(text: str, lifetime: timedelta) -> None:
    assert parse_lifetime(text, "x") == lifetime


@pytest.mark.parametrize("text", ["", "24", "h", "0s", "10ms", "-1h", "1h x", "1e9h", "9" * 400 + "h", "99999999999999d"])
def test_anything_else_is_an_error_that_names_the_setting(text: str) -> None:
    with pytest.raises(InvalidLifetime, match="HAUBERK_X"):
        parse_lifetime(text, "HAUBERK_X")


def test_the_environment_decides_and_a_day_is_the_default() -> None:
    assert read_settings({}).certificate_lifetime == timedelta(hours=24)
    assert read_settings({"HAUBERK_CERTIFICATE_LIFETIME": "6s"}) == CitadelSettings(certificate_lifetime=timedelta(seconds=6))
