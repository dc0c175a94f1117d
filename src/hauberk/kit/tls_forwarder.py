"""A Unix socket whose connections go on over TLS: what speaks only to local sockets thereby reaches another machine."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from hauberk.kit.pump import CHUNK, Stream, close, join_streams
from hauberk.kit.tls import PeerRefused
from hauberk.kit.tls_door import HANDSHAKE_SECONDS, keep_alive
from hauberk.kit.unix_server import allowed_users, listen, peer_uid

CONNECT_SECONDS: Final = 5.0
UNANSWERED: Final = "it ended the connection without an answer: it does not accept our certificate, or is just ending"

Dial = Callable[[], Awaitable[Stream]]


async def dial_tls(address: tuple[str, int], context: ssl.SSLContext, check: Callable[[bytes], None]) -> Stream:
    """A TLS connection to host and port. Nothing has been sent over it before `check` found the other's certificate (DER) to be right.

    OSError if nobody answers or TLS fails, PeerRefused (by `check`) if it is the wrong one who answers.
    """
    async with asyncio.timeout(CONNECT_SECONDS + HANDSHAKE_SECONDS):
        reader, writer = await asyncio.open_connection(
            *address, ssl=context, server_hostname="", limit=CHUNK, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
    try:
        keep_alive(writer.get_extra_info("socket"))
        _check(writer.get_extra_info("ssl_object"), check)
    except BaseException:
        close(writer)
        raise
    return reader, writer


def _check(tls: ssl.SSLObject, check: Callable[[bytes], None]) -> None:
    if tls.selected_alpn_protocol() is None:
        raise PeerRefused("it answers, but speaks another protocol")
    check(tls.getpeercert(binary_form=True) or b"")


class Switch:
    """On or off; who is interested waits for either. Of one event loop."""

    def __init__(self, *, on: bool) -> None:
        self._on, self._off = asyncio.Event(), asyncio.Event()
        self.turn(on=on)

    def turn(self, *, on: bool) -> None:
        """It is on, or off."""
        now, other = (self._on, self._off) if on else (self._off, self._on)
        other.clear()
        now.set()

    async def turned(self, *, on: bool) -> None:
        """Returns as soon as it is on, or off."""
        await (self._on if on else self._off).wait()


class TlsForwarder:
    """Serves `path` with connections made by `dial`; `tell` hears why one failed, and None when one stood.

    While `switch` is off the socket is not there: to who looks, it is as if nobody served. Connections that stand go on.
    """

    def __init__(self, path: Path, dial: Dial, tell: Callable[[str | None], None], switch: Switch | None = None) -> None:
        self._path = path
        self._dial = dial
        self._tell = tell
        self._switch = switch or Switch(on=True)
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answers until cancelled, whenever it is switched on; the socket's file is gone then, and every connection ended."""
        try:
            while True:
                await self._switch.turned(on=True)
                server = await asyncio.start_unix_server(self._receive, sock=listen(self._path), limit=CHUNK)
                try:
                    await self._switch.turned(on=False)
                finally:
                    self._path.unlink(missing_ok=True)
                    server.close()
        finally:
            self.renew()

    def renew(self) -> None:
        """Every connection ends now; its user makes another, which is dialled anew."""
        for task in self._open:
            task.cancel()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            connection: socket.socket = writer.get_extra_info("socket")
            if peer_uid(connection) in allowed_users():
                await self._forward((reader, writer))
        except asyncio.CancelledError:
            # The end of this connection alone; asyncio would report a task of a server that ends so as a mistake.
            return
        finally:
            close(writer)

    async def _forward(self, here: Stream) -> None:
        # All that is spoken here is begun by the client: who only looks whether somebody listens costs no handshake.
        first = await here[0].read(CHUNK)
        if not first:
            return
        try:
            there = await self._dial()
            there[1].write(first)
            answered = await join_streams(here, there)
        except (OSError, TimeoutError, PeerRefused) as error:
            self._tell(describe(error))
            return
        # With TLS 1.3 the other side looks at our certificate only after we believe the connection to stand, and asyncio sends no
        # alert when it does not like it.
        self._tell(None if answered else UNANSWERED)


def describe(error: Exception) -> str:
    """Why a connection failed, for a person."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return str(error)
