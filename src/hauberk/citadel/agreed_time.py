"""The time by which things are forgotten for ever: a clock that leaps, and is set right again, must not have cost a living row."""

from datetime import datetime, timedelta

from hauberk.kit.clock import Clock


class AgreedTime:
    """What the wall clock and the monotonic one agree about: a leap forward counts only when the next look still sees it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: tuple[datetime, float] | None = None

    def look(self) -> datetime | None:
        """The time that has come for certain; None at the first look, which nothing bears out."""
        now, seconds = self._clock.now(), self._clock.monotonic()
        last, self._last = self._last, (now, seconds)
        return None if last is None else min(now, last[0] + timedelta(seconds=seconds - last[1]))
