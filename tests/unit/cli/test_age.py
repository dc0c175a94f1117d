"""Spans of time."""

from datetime import UTC, datetime, timedelta

import pytest

from hauberk.cli.age import age, seconds_of, span


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172800), ("7", 7), ("1.5s", 1.5)]
)
def test_spans_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "m", "-3s", "5x"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a span"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (179, "179s"), (185, "3m5s"), (3600, "60m"), (12000, "3h20m"), (86400 * 2, "48h"), (86400 * 5, "5d"), (-4, "0s")],
)
def test_spans_are_shown_as_kubectl_shows_them(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


def test_the_age_of_nothing_is_a_dash() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert age(None, now) == "-"
    assert age("yesterday", now) == "-"
    assert age("2026-01-01T11:59:00Z", now) == "60s"
