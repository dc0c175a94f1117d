"""Times as text and back."""

from datetime import UTC, datetime, timedelta, timezone

from hauberk.kit.clock import SystemClock, format_timestamp, parse_timestamp


def test_a_timestamp_survives_being_text() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_timestamp(format_timestamp(moment)) == moment


def test_a_timestamp_is_written_in_utc() -> None:
    assert format_timestamp(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2025-12-31T23:00:00Z"


def test_the_system_clock_knows_its_zone_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
