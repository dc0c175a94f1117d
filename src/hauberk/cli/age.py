"""Spans of time as people say them: `45s`, `5m`, `3h20m`, `6d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds_of(text: str) -> float:
    """The seconds in `5m`, `1h30m`, `250ms` or a bare number of seconds; ValueError if it is none of these."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _SPAN.sub("", text):
        raise ValueError(f"{text!r} is not a span of time: write 30s, 5m, 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _SPAN.findall(text))


def moment(text: str) -> datetime | None:
    """The instant an RFC 3339 text names; None if it names none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(passed: timedelta) -> str:
    """The two largest units of a span, the way kubectl shows ages."""
    seconds = max(0, int(passed.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600, seconds // 60
    if days >= 3:
        return f"{days}d"
    if hours >= 3:
        return f"{hours}h{minutes % 60}m" if hours < 10 and minutes % 60 else f"{hours}h"
    if minutes >= 3:
        return f"{minutes}m{seconds % 60}s" if minutes < 10 and seconds % 60 else f"{minutes}m"
    return f"{seconds}s"


def age(text: str | None, now: datetime | None = None) -> str:
    """How long ago the RFC 3339 instant `text` was; `-` when there is none."""
    then = moment(text) if text else None
    if then is None:
        return "-"
    return span((now or datetime.now(UTC)) - then)
