"""How long to wait before the next attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays: immediately · first, first·factor, … up to limit. All in seconds."""

    first: float
    limit: float
    factor: float = 2.0
    immediate: int = 0  # attempts that wait nothing at all
    reset_after: float | None = None  # a success that lasted so long forgets earlier failures

    def delay(self, failures: int, jitter: float = 0.0) -> float:
        """Seconds to wait after `failures` failures in a row; `jitter` in [-1, 1] moves it by up to a tenth of itself."""
        if failures <= self.immediate:
            return 0.0
        # The exponent is bounded before the power is taken: a float overflows after a thousand failures.
        exponent = min(failures - self.immediate - 1, 64)
        return min(self.limit, self.first * self.factor**exponent) * (1.0 + 0.1 * jitter)

    def failures_after(self, failures: int, lasted: float) -> int:
        """Failures in a row once an attempt that lived `lasted` seconds has ended."""
        if self.reset_after is not None and lasted >= self.reset_after:
            return 1
        return failures + 1
