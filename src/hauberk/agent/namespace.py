"""Running a piece of code inside another network namespace, in a thread made for it alone.

A thread that entered a namespace can't always leave it again (a rootless process may not re-enter the machine's own), so no
thread of a pool is ever used: it enters, does its work and ends. Sockets made there stay in that namespace.
"""

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


async def run_in_network(network: int, body: Callable[[], T], name: str = "in-network") -> T:
    """What `body` returned (or raised) inside the network namespace of that file descriptor; the event loop runs on meanwhile."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    # The caller may be cancelled and close its descriptor while the thread is still on its way.
    own = os.dup(network)

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T may itself be None

    def work() -> None:
        try:
            enter_network(own)
            answer: tuple[T | None, BaseException | None] = (body(), None)
        except BaseException as exc:
            answer = (None, exc)
        finally:
            os.close(own)
        loop.call_soon_threadsafe(settle, *answer)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future


def enter_network(network: int) -> None:
    """The calling thread is in that network namespace, for as long as it lives."""
    if _libc.setns(network, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
