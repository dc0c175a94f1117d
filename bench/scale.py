"""How much is measured: the whole, or enough to see that it works."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`rounds` repetitions of what is compared, `repeats` of what stands alone."""

    rounds: int = 7
    burst_seconds: int = 4
    repeats: int = 5
    commands: int = 15
    pods: int = 50
    changes: int = 9

    def tell(self, text: str) -> None:
        """Talk, which goes to standard error."""
        print(f"  {text}", file=sys.stderr, flush=True)


QUICK = Scale(rounds=2, burst_seconds=1, repeats=1, commands=5, pods=10, changes=3)
