"""When a probe's answers change what is thought of a container: pure."""

from dataclasses import dataclass, replace

from hauberk.api.probe import Probe

# A container that just started is asked at short intervals, so that a ready one is not kept waiting for a whole period; these early
# questions count only if the answer is good.
EARLY_DELAYS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe thinks: None until it made up its mind for the first time."""

    good: bool | None = None
    successes: int = 0
    failures: int = 0

    def after(self, success: bool, probe: Probe) -> "Health":
        """What it thinks after one more answer."""
        counted = (
            replace(self, successes=self.successes + 1, failures=0) if success else replace(self, successes=0, failures=self.failures + 1)
        )
        if success and counted.successes >= probe.success_threshold:
            return replace(counted, good=True)
        if not success and counted.failures >= probe.failure_threshold:
            return replace(counted, good=False)
        return counted


def early_delays(period: float) -> tuple[float, ...]:
    """Waits between the early questions of one period, and the rest of the period; they add up to the period."""
    delays: list[float] = []
    left = period
    for delay in EARLY_DELAYS:
        if delay >= left:
            break
        delays.append(delay)
        left -= delay
    while left > 1.5:
        delays.append(1.0)
        left -= 1.0
    return (*delays, left)
