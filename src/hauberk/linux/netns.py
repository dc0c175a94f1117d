"""Work inside another network namespace, done in a thread that is thrown away.

A process without privileges on the machine can enter its pods' network namespaces but never return to the machine's own; so the thread that
entered ends. Sockets keep belonging to the namespace they were made in, whichever thread uses them afterwards.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from hauberk.linux import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class _Errand(Generic[T]):
    """One call, to be made in a thread of its own, and what came of it."""

    def __init__(self, network: int, work: Callable[[], T]) -> None:
        # A duplicate: a caller that is cancelled may close its own while the thread still runs.
        self._network = os.dup(network)
        self._work = work
        self._result: list[T] = []
        self._failure: BaseException | None = None

    def do(self) -> None:
        try:
            namespaces.enter(self._network, namespaces.NEWNET)
            self._result.append(self._work())
        except BaseException as error:
            self._failure = error
        finally:
            os.close(self._network)

    def outcome(self) -> T:
        if self._failure is not None:
            raise self._failure
        return self._result[0]


def in_network(network: int, work: Callable[[], T]) -> T:
    """What `work` returned (or raised), called inside the network namespace that the descriptor `network` stands for."""
    errand = _Errand(network, work)
    thread = threading.Thread(target=errand.do, name="in-network", daemon=True)
    thread.start()
    thread.join()
    return errand.outcome()


async def in_network_async(network: int, work: Callable[[], T]) -> T:
    """As `in_network`, without blocking the event loop. Cancelling does not stop `work`; its result is then dropped."""
    errand = _Errand(network, work)
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def do() -> None:
        errand.do()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=do, name="in-network", daemon=True).start()
    await done.wait()
    return errand.outcome()
