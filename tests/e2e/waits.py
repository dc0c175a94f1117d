"""Waiting for what has no event to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable

from hauberk.kit.unix_http import NotReachable
from hauberk.testing.answer import MeshFailed


def until(holds: Callable[[], bool], what: str, patience: float = 60.0) -> None:
    """`holds` has become true; asked again every 50 ms, because it is a question to several processes at once."""
    deadline = time.monotonic() + patience
    while True:
        try:
            if holds():
                return
        except (LookupError, OSError, MeshFailed, NotReachable) as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}") from error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)
