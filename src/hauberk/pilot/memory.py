"""The garbage collector of a process that holds a large state for long."""

from __future__ import annotations

import gc
from typing import Final

# Allocations before the young are looked at, and how many such rounds before the older: Python's own numbers are for scripts.
YOUNG: Final = 50_000
OLDER: Final = 20
OLDEST: Final = 20


def settle() -> None:
    """What exists now is not searched for garbage any more, and the rest less often.

    With a thousand services one search through everything takes 100 ms, and Python would do one in the middle of every second
    push. Almost nothing here is ever garbage in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDEST)
