"""Whether a container that ended is started again, and when: pure."""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from hauberk.agent.settings import AgentSettings
from hauberk.kit.backoff import Backoff

RestartPolicy = Literal["Always", "OnFailure", "Never"]
_SIGNALLED: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a program ended: its exit code (128 + signal as shells have it), and why we think so."""

    exit_code: int
    signal: int | None
    reason: str
    started_at: datetime | None = None
    finished_at: datetime | None = None


def read_ending(
    wait_status: int, *, unhealthy: bool = False, started_at: datetime | None = None, finished_at: datetime | None = None
) -> Ending:
    """The ending that a wait status describes."""
    code = os.waitstatus_to_exitcode(wait_status)
    signal = -code if code < 0 else None
    exit_code = _SIGNALLED + signal if signal is not None else code
    reason = "Unhealthy" if unhealthy else "Completed" if exit_code == 0 else "Error"
    return Ending(exit_code=exit_code, signal=signal, reason=reason, started_at=started_at, finished_at=finished_at)


def restarts(policy: RestartPolicy, exit_code: int) -> bool:
    """Whether a program that ended so is started again."""
    match policy:
        case "Always":
            return True
        case "OnFailure":
            return exit_code != 0
        case "Never":
            return False


def build_backoff(settings: AgentSettings) -> Backoff:
    """The waits before each new start: the first is at once, as most failures happen once."""
    return Backoff(
        first=settings.backoff_first_seconds,
        limit=settings.backoff_limit_seconds,
        immediate=1,
        reset_after=settings.backoff_reset_seconds,
    )
