"""Between callers and the gRPC server: each connection is taken by hand, judged, and carried on under a name that only we can give.

gRPC tells its handlers nothing of a Unix socket's peer but the address it has bound. Callers never reach the server itself, whose
socket lies where only this user's processes come; the connection that is made for them is bound to a random name, and by that name a
handler finds who it is for.
"""

import asyncio
import os
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hauberk.agent.workload_caller import Caller
from hauberk.kit.log import logger
from hauberk.kit.pump import join_streams

# Of one pod or one user of the machine: whoever opens more holds descriptors that others need.
MOST_CONNECTIONS: Final = 128
_SCHEME: Final = "unix-abstract:"
_log = logger("workload-api")


class Crowded(Exception):
    """So many connections of one owner are open that there is no other."""


class Front:
    """Carries connections to the server at `inner`; `caller_of` is what that server's handlers ask."""

    def __init__(self, inner: Path) -> None:
        self._inner = inner
        self._callers: dict[str, Caller] = {}
        self._open: Counter[str] = Counter()

    def caller_of(self, peer: str) -> Caller | None:
        """Who is behind a connection, by what gRPC calls its peer."""
        return self._callers.get(peer.removeprefix(_SCHEME)) if peer.startswith(_SCHEME) else None

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Meanwhile one connection more is open of `owner`, a pod or a user; raises Crowded. To be taken before anything is done for it."""
        if self._open[owner] >= MOST_CONNECTIONS:
            raise Crowded(f"{MOST_CONNECTIONS} connections are open already")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    async def carry(self, connection: socket.socket, pidfd: int, caller: Caller) -> None:
        """`connection` is served until either side or the process behind it ends. Closes both descriptors."""
        name = f"hauberk-{secrets.token_hex(16)}"
        try:
            self._callers[name] = caller
            with suppress(OSError):
                await _until_ended(pidfd, self._join(connection, name))
        finally:
            self._callers.pop(name, None)
            connection.close()
            os.close(pidfd)

    async def _join(self, connection: socket.socket, name: str) -> None:
        inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # Abstract: there is no file that could be left.
            inside.bind(f"\0{name}")
            await asyncio.get_running_loop().sock_connect(inside, str(self._inner))
            there = await asyncio.open_unix_connection(sock=inside)
        except BaseException:
            inside.close()
            raise
        connection.setblocking(False)
        here = await asyncio.open_unix_connection(sock=connection.dup())
        await join_streams(here, there)


async def _until_ended(pidfd: int, work: Awaitable[None]) -> None:
    """`work` is done, or given up because the process has ended: what inherited its connection was not looked at."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    watch = os.dup(pidfd)
    loop.add_reader(watch, ended.set)
    tasks = (asyncio.ensure_future(work), asyncio.ensure_future(ended.wait()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(watch)
        os.close(watch)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):
                _log.error("a connection failed", exc_info=result)


async def accept_forever(listener: socket.socket, take: Callable[[socket.socket], Awaitable[None]]) -> None:
    """`take` has its own task for each connection, until cancelled; then none is left."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as exc:
                # No descriptor left: one that is given back lets it go on.
                _log.warning("a connection cannot be taken", reason=str(exc))
                await asyncio.sleep(0.1)
                continue
            tasks.create_task(_taken(take, connection), name="workload-api:connection")


async def _taken(take: Callable[[socket.socket], Awaitable[None]], connection: socket.socket) -> None:
    try:
        await take(connection)
    except Exception:
        # One connection's trouble is not the others'.
        _log.exception("a connection failed")
    finally:
        connection.close()
