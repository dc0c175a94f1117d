"""Whose clock is wrong, judged from how far each machine's is ahead of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from statistics import median_low
from typing import Final

# A report may take a second on a busy machine, and certificates are back-dated by a minute: less than this never hurts.
TOLERANCE: Final = timedelta(seconds=10)
HERE: Final = ""


@dataclass(frozen=True, slots=True)
class Skew:
    """The clock of `node` (`HERE`: the control plane's own) is `ahead` of what the others say; negative: behind."""

    node: str
    ahead: timedelta

    def __str__(self) -> str:
        where = f"node {self.node}" if self.node != HERE else "the control plane's machine"
        by = abs(self.ahead.total_seconds())
        return f"the clock of {where} is {by:.0f} s {'ahead' if self.ahead > timedelta() else 'behind'}: set it (or run an NTP client)"


def find_skews(ahead: Mapping[str, timedelta], tolerance: timedelta = TOLERANCE) -> tuple[Skew, ...]:
    """The clocks that are wrong, if each machine's is so much ahead of the control plane's.

    Of two that disagree nobody knows which is right, and ours is what certificates are made by; but where most of three or more machines
    agree with each other and not with us, it is ours.
    """
    # Our own opinion counts as one machine's.
    everybody = [timedelta(), *ahead.values()]
    middle = median_low(everybody)
    agreeing = sum(abs(each - middle) <= tolerance for each in everybody)
    if 2 * agreeing <= len(everybody):
        middle = timedelta()
    here = (Skew(HERE, -middle),) if abs(middle) > tolerance else ()
    others = tuple(Skew(node, each - middle) for node, each in sorted(ahead.items()) if abs(each - middle) > tolerance)
    return (*here, *others)
