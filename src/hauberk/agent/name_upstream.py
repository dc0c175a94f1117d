"""Asking the machine's resolvers about the names that are not the mesh's."""

import asyncio
import secrets
import struct
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

NAME_PORT: Final = 53
_HEADER: Final = 12


class ResolversSilent(Exception):
    """None of the machine's resolvers gave an answer."""


def read_resolvers(resolv_conf: str) -> tuple[str, ...]:
    """The addresses of the `nameserver` lines, as resolv.conf(5) has them: the first three count."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with suppress(ValueError):
                ip_address(words[1].partition("%")[0])
                found.append(words[1])
    return tuple(found[:3])


class Upstream:
    """The machine's resolvers, asked one after the other; their list is read again whenever the file changed."""

    def __init__(self, resolv_conf: Path, timeout: float, port: int = NAME_PORT) -> None:
        self._path = resolv_conf
        self._timeout = timeout
        self._port = port
        self._read_at: tuple[int, int] = (0, 0)
        self._resolvers: tuple[str, ...] = ()

    @property
    def resolvers(self) -> tuple[str, ...]:
        """The resolvers of this moment: a laptop changes them when it changes its network."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._read_at:
            self._read_at = stamp
            with suppress(OSError):
                self._resolvers = read_resolvers(self._path.read_text(errors="replace"))
        return self._resolvers

    async def ask(self, query: bytes, *, udp: bool) -> bytes:
        """The first answer; raises ResolversSilent. A cut answer is fetched whole over TCP only for one who asked over TCP."""
        for resolver in self.resolvers:
            with suppress(TimeoutError, OSError, EOFError):
                async with asyncio.timeout(self._timeout):
                    return await (self._ask_udp(resolver, query) if udp else self._ask_tcp(resolver, query))
        raise ResolversSilent

    async def _ask_udp(self, resolver: str, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        # An identifier of our own and a port of the kernel's choice: together what makes a forged answer improbable.
        identifier = secrets.token_bytes(2)
        transport, answer = await loop.create_datagram_endpoint(lambda: _Answer(identifier), remote_addr=(resolver, self._port))
        try:
            transport.sendto(identifier + query[2:])
            return query[:2] + (await answer.received)[2:]
        finally:
            transport.close()

    async def _ask_tcp(self, resolver: str, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(resolver, self._port)
        try:
            writer.write(struct.pack("!H", len(query)) + query)
            await writer.drain()
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, identifier: bytes) -> None:
        self._identifier = identifier
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if len(data) >= _HEADER and data[:2] == self._identifier and data[2] & 0x80 and not self.received.done():
            self.received.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(exc)
