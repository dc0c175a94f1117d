"""A TCP port that authenticates each connection once and then carries its bytes to a Unix socket chosen for that caller.

Whoever answers behind that socket never sees TLS and need not ask who calls: the socket says it.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hauberk.kit.log import logger
from hauberk.kit.pump import CHUNK, Stream, close, join_streams
from hauberk.kit.tls import PeerRefused

BACKLOG: Final = 256
HANDSHAKE_SECONDS: Final = 5.0
GOODBYE_SECONDS: Final = 2.0
HANDSHAKES_EACH: Final = 64  # unfinished ones of one address: a caller that only begins them must not keep others out
CONNECTIONS_EACH: Final = 4096  # of one caller: one stream a pod, and a few
COMPLAINT_SECONDS: Final = 60.0
MOST_COMPLAINTS: Final = 1000  # within that time
_ACCEPT_AGAIN_SECONDS: Final = 0.1

_log = logger("door")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who knocks. Of the certificate, chain and time have been checked, and that he has its key; what it names has not."""

    certificate: bytes | None  # DER
    protocol: str  # which of the door's protocols he speaks
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Where his bytes go, under whose name his connections are counted and ended, and for how many seconds at most.

    He is let in if those of that name are fewer than `most`, and those of them from his address fewer than `most_here`.
    """

    path: Path
    owner: str
    seconds: float
    most: int = CONNECTIONS_EACH
    most_here: int = CONNECTIONS_EACH


Admit = Callable[[Visitor], Awaitable[Admitted]]


def listen_tcp(address: tuple[str, int]) -> socket.socket:
    """A listening TCP socket at host and port; OSError if it cannot be."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def keep_alive(connection: socket.socket) -> None:
    """A peer that vanished without a word is noticed within a minute."""
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class TlsDoor:
    """`context` is asked for every connection, so that what it shows and believes may change; `admit` raises PeerRefused."""

    def __init__(self, context: Callable[[], ssl.SSLContext], admit: Admit) -> None:
        self._context = context
        self._admit = admit
        self._knocking: Counter[str] = Counter()
        self._inside: dict[str, dict[asyncio.Task[None], str]] = {}  # of each caller: his connections, and whence they come
        self._told: dict[tuple[str, str], float] = {}

    async def serve(self, listener: socket.socket) -> None:
        """Answers until cancelled; the socket is closed then, and every connection with it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    try:
                        connection, peer = await loop.sock_accept(listener)
                    except OSError as error:
                        # No descriptors left, or a caller that hung up already: the door stays open for the next.
                        _log.warning("a connection could not be accepted", reason=error.strerror)
                        await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)
                        continue
                    if self._knocking[peer[0]] >= HANDSHAKES_EACH:
                        connection.close()
                        continue
                    self._knocking[peer[0]] += 1
                    tasks.create_task(self._receive(connection, str(peer[0])), name=f"door:{peer[0]}")
        finally:
            listener.close()

    def show_out(self, owner: str) -> int:
        """Every connection of `owner` ends now; how many there were."""
        inside = tuple(self._inside.get(owner, ()))
        for task in inside:
            task.cancel()
        return len(inside)

    def guests(self) -> dict[str, int]:
        """How many connections each caller has."""
        return {owner: len(tasks) for owner, tasks in self._inside.items()}

    async def _receive(self, connection: socket.socket, address: str) -> None:
        stream: Stream | None = None
        try:
            try:
                keep_alive(connection)
                stream = await self._handshake(connection)
                admitted = await self._admit(_visitor(stream, address))
            finally:
                self._knocking -= Counter({address: 1})
            await self._carry(stream, admitted, address)
        except PeerRefused as refused:
            self._complain(address, str(refused))
            if stream is not None and refused.farewell:
                await _take_leave(stream, refused.farewell)
        except (OSError, TimeoutError) as error:
            self._complain(address, str(error) or type(error).__name__)
        except Exception:
            # Ours to repair, but what one caller sends must not end the others' connections.
            _log.exception("a connection could not be served", address=address)
        finally:
            connection.close() if stream is None else close(stream[1])

    def _complain(self, address: str, reason: str) -> None:
        """Said once a minute: whoever knocks in vain all the time must not fill the log."""
        now = asyncio.get_running_loop().time()
        self._told = {key: at for key, at in self._told.items() if now - at < COMPLAINT_SECONDS}
        if (address, reason) not in self._told and len(self._told) < MOST_COMPLAINTS:
            self._told[address, reason] = now
            _log.warning("a caller is turned away", address=address, reason=reason)

    async def _handshake(self, connection: socket.socket) -> Stream:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CHUNK)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._context(),
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _carry(self, stream: Stream, admitted: Admitted, address: str) -> None:
        inside = self._inside.setdefault(admitted.owner, {})
        _require_room(admitted, address, inside.values())
        # A task of its own, so that showing its owner out ends it and not the receiving of it.
        carrying = asyncio.create_task(self._carry_until(stream, admitted), name=f"door:{admitted.owner}")
        inside[carrying] = address
        try:
            await asyncio.wait({carrying})
        finally:
            carrying.cancel()
            del inside[carrying]
            if not inside:
                self._inside.pop(admitted.owner, None)
        if not carrying.cancelled() and (error := carrying.exception()) is not None:
            raise error

    async def _carry_until(self, stream: Stream, admitted: Admitted) -> None:
        behind = await asyncio.open_unix_connection(str(admitted.path), limit=CHUNK)
        with suppress(TimeoutError):
            # Whoever stays connected for ever would outlive his certificate.
            async with asyncio.timeout(admitted.seconds):
                await join_streams(behind, stream)


def _require_room(admitted: Admitted, address: str, inside: Collection[str]) -> None:
    """One more would not be too many; raises PeerRefused."""
    if len(inside) >= admitted.most:
        raise PeerRefused(f"{admitted.owner} has {admitted.most} connections already")
    if admitted.most_here < admitted.most and sum(each == address for each in inside) >= admitted.most_here:
        raise PeerRefused(f"{admitted.owner} has {admitted.most_here} connections from there already")


async def _take_leave(stream: Stream, farewell: bytes) -> None:
    """He has been told, and time to hear it: a connection that is cut while he still sends loses what was said to him."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            stream[1].write(farewell)
            while await stream[0].read(CHUNK):
                pass


def _visitor(stream: Stream, address: str) -> Visitor:
    tls: ssl.SSLObject = stream[1].get_extra_info("ssl_object")
    return Visitor(certificate=tls.getpeercert(binary_form=True), protocol=tls.selected_alpn_protocol() or "", address=address)
