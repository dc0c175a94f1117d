"""The client of the launcher: the mesh's init process, which alone creates networks and processes and outlives its clients."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from hauberk.linux.failure import LauncherGone, decode_failure
from hauberk.linux.packet import PacketMalformed, close_all, receive_packet, send_packet
from hauberk.linux.process import ContainerView, Process, ProcessSpec, decode_process, encode_spec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ContainerView", "Launcher", "Process", "ProcessSpec"]

_Answer = tuple[dict[str, Any], list[int]]


class Launcher:
    """One connection to the launcher. Requests may overlap; each failure is a LaunchFailure with a hint."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[_Answer]] = {}
        self._unsent: deque[tuple[dict[str, Any], tuple[int, ...]]] = deque()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(sock.fileno(), self._on_readable)

    @classmethod
    async def connect(cls, path: Path) -> Launcher:
        """A connection to the launcher at `path`; LauncherGone if nothing answers there."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(str(path))
        except OSError as error:
            sock.close()
            raise LauncherGone(f"nothing answers at {path}", "start the mesh: `hauberk up`", error.errno or 0) from error
        sock.setblocking(False)
        return cls(sock)

    def close(self) -> None:
        """The connection is closed; requests under way fail with LauncherGone. Processes and networks live on."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for _, descriptors in self._unsent:
            close_all(descriptors)
        self._unsent.clear()
        waiting, self._pending = tuple(self._pending.values()), {}
        for answer in waiting:
            if not answer.done():
                answer.set_exception(LauncherGone("the launcher's connection ended", "look into the mesh's init.log"))
        if not self._gone.done():
            self._gone.set_result(None)

    async def gone(self) -> None:
        """Returns when the connection has ended."""
        await asyncio.shield(self._gone)

    async def create_network(self, name: str) -> int:
        """A descriptor (the caller's to close) of the network namespace `name`, new if there was none.

        A new one has its loopback up and lets every user bind ports below 1024.
        """
        return _only(await self._call({"op": "create-network", "name": name}))

    async def network(self, name: str) -> int:
        """A descriptor (the caller's to close) of the existing network `name`; UnknownNetwork if there is none."""
        return _only(await self._call({"op": "network", "name": name}))

    async def delete_network(self, name: str) -> None:
        """The launcher holds the network no longer; the kernel destroys it when its last process and socket are gone."""
        await self._call({"op": "delete-network", "name": name})

    async def networks(self) -> tuple[str, ...]:
        """Names of all networks."""
        document, _ = await self._call({"op": "networks"})
        return tuple(document["names"])

    async def spawn(self, name: str, spec: ProcessSpec, stdio: tuple[int, int, int]) -> Process:
        """The program runs: exec succeeded. ProgramNotStarted says exactly why if it did not; then nothing of it remains."""
        descriptors = stdio if spec.executable is None else (*stdio, spec.executable)
        document, _ = await self._call({"op": "spawn", "name": name, "spec": encode_spec(spec)}, descriptors)
        return decode_process(document["process"])

    async def signal(self, name: str, number: int) -> None:
        """The process `name` was sent that signal; UnknownProcess if it no longer runs."""
        await self._call({"op": "signal", "name": name, "number": int(number)})

    async def processes(self, prefix: str = "") -> tuple[Process, ...]:
        """All processes started through the launcher by any client, running or ended but not forgotten, whose names begin so."""
        document, _ = await self._call({"op": "processes", "prefix": prefix})
        found = (decode_process(entry) for entry in document["processes"])
        return tuple(process for process in found if process.name.startswith(prefix))

    async def forget(self, name: str) -> None:
        """An ended process is no longer listed and its name is free; no error if it is unknown."""
        await self._call({"op": "forget", "name": name})

    async def wait(self, name: str) -> int:
        """The wait status of `name`, as soon as it has ended; UnknownProcess if there is none."""
        document, _ = await self._call({"op": "wait", "name": name})
        return int(document["status"])

    async def run(self, name: str, spec: ProcessSpec, stdio: tuple[int, int, int]) -> int:
        """The wait status of a program that was started, has ended and is forgotten; cancelling kills it."""
        try:
            await self.spawn(name, spec, stdio)
            status = await self.wait(name)
        except asyncio.CancelledError:
            # Not awaited: the caller is being cancelled. The launcher forgets the process itself once it has ended; if it was still
            # on its way, the request to start it is taken before this one.
            self._post({"op": "abandon", "name": name})
            raise
        await self.forget(name)
        return status

    async def keep_socket(self, name: str, fd: int) -> None:
        """The launcher keeps a duplicate of `fd` under `name`, in place of one kept before."""
        await self._call({"op": "keep-socket", "name": name}, (fd,))

    async def kept_socket(self, name: str) -> int | None:
        """A descriptor (the caller's to close) of the socket kept under `name`."""
        _, descriptors = await self._call({"op": "kept-socket", "name": name})
        return descriptors[0] if descriptors else None

    async def drop_socket(self, name: str) -> None:
        """The launcher no longer keeps a socket under `name`."""
        await self._call({"op": "drop-socket", "name": name})

    async def _call(self, request: dict[str, Any], descriptors: tuple[int, ...] = ()) -> _Answer:
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        number = self._post(request, descriptors)
        self._pending[number] = answer
        try:
            document, received = await answer
        except asyncio.CancelledError:
            # The answer may have arrived in the same turn of the loop: its descriptors are nobody's then.
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                close_all(answer.result()[1])
            raise
        finally:
            self._pending.pop(number, None)
        if "failure" in document:
            close_all(received)
            raise decode_failure(document["failure"])
        return document, received

    def _post(self, request: dict[str, Any], descriptors: tuple[int, ...] = ()) -> int:
        if self._socket.fileno() < 0:
            raise LauncherGone("the launcher's connection ended", "look into the mesh's init.log")
        number = next(self._numbers)
        document = request | {"id": number}
        if self._unsent or not self._sent(document, descriptors):
            # Duplicates: the caller may close its own before there is room.
            self._unsent.append((document, tuple(os.dup(descriptor) for descriptor in descriptors)))
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        return number

    def _sent(self, document: dict[str, Any], descriptors: tuple[int, ...]) -> bool:
        try:
            send_packet(self._socket, document, descriptors)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionError) as error:
            self.close()
            raise LauncherGone("the launcher's connection ended", "look into the mesh's init.log") from error
        return True

    def _on_writable(self) -> None:
        try:
            while self._unsent and self._sent(*self._unsent[0]):
                close_all(self._unsent.popleft()[1])
        except LauncherGone:
            return  # close() has told everybody who waits
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            while (packet := receive_packet(self._socket)) is not None:
                self._deliver(*packet)
        except BlockingIOError:
            return
        except (OSError, PacketMalformed):
            self.close()
            return
        self.close()

    def _deliver(self, document: dict[str, Any], descriptors: list[int]) -> None:
        answer = self._pending.get(int(document.get("id", 0)))
        if answer is None or answer.done():
            close_all(descriptors)
        else:
            answer.set_result((document, descriptors))


def _only(answer: _Answer) -> int:
    document, descriptors = answer
    if len(descriptors) != 1:
        close_all(descriptors)
        raise LauncherGone(f"the launcher answered {document!r} without a descriptor", "restart the mesh: its parts differ in version")
    return descriptors[0]
