"""Which signals a process would hear."""

import re
from pathlib import Path
from typing import Final

SIGKILL: Final = 9
SIGTERM: Final = 15
_CAUGHT: Final = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


def hears(pid: int, number: int) -> bool:
    """Whether the first process of a PID namespace would notice that signal: the kernel drops those it has no handler for."""
    try:
        return catches(Path(f"/proc/{pid}/status").read_text(), number)
    except OSError:
        return True  # it just ended, or is not ours to look at: then it is sent the signal, and waited for


def catches(status: str, number: int) -> bool:
    """Whether the process of that /proc/PID/status has a handler for the signal."""
    found = _CAUGHT.search(status)
    return found is None or bool(int(found[1], 16) >> (number - 1) & 1)
