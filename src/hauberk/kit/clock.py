"""Time comes in by this door, so that a test decides what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What deciding code may know of time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC: for certificates and timestamps that people read."""

    def monotonic(self) -> float:
        """Seconds that never go backwards: for durations."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def parse_timestamp(text: str) -> datetime:
    """An RFC 3339 timestamp as an aware datetime in UTC."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def format_timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
