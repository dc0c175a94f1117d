"""The name server of the pods: over UDP and TCP on the bridge's addresses, from a table that outlives the control plane."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, cast

import dns.rcode

from hauberk.agent.name_answers import Asking, Unanswerable, answer_query, answer_with, encode_answer, parse_query
from hauberk.agent.name_table import NameTable, read_table
from hauberk.agent.name_upstream import NAME_PORT, ResolversSilent, Upstream
from hauberk.agent.settings import AgentSettings
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable, RequestFailed
from hauberk.linux.launch import Launcher
from hauberk.linux.netns import in_network_async

_FORWARDS_AT_ONCE: Final = 256  # more would only wait for the same resolvers and hold memory meanwhile
_TCP_IDLE_SECONDS: Final = 10.0
_TCP_CONNECTIONS: Final = 512
_RETRY: Final = Backoff(first=0.1, limit=2.0)
_log = logger("agent.names")


class NameBook:
    """The current table, its copy on disk, and the wire form of every answer."""

    def __init__(self, cache: Path, upstream: Upstream, settings: AgentSettings) -> None:
        self._cache = cache
        self._upstream = upstream
        self._ttl = settings.name_ttl_seconds
        self._rotation = 0
        self._forwards = asyncio.Semaphore(_FORWARDS_AT_ONCE)
        self.table: NameTable | None = self._read_cache()

    def learn(self, document: Mapping[str, Any]) -> None:
        """The table is this one from now on, also for an agent that starts while the control plane is away."""
        self.table = read_table(document)
        new = self._cache.with_suffix(".new")
        try:
            new.write_text(json.dumps(document))
            new.replace(self._cache)
        except OSError as exc:
            # A full disk: names go on being answered, and only the copy is older than it could be.
            _log.warning("the names could not be remembered", reason=str(exc))

    def answer_now(self, wire: bytes, *, udp: bool) -> bytes | Unanswerable | None:
        """The answer if the table has it; None if there is none to give; FORWARD if the machine's resolvers must be asked."""
        query = parse_query(wire)
        if query is None or isinstance(query, bytes):
            return query
        self._rotation += 1
        answer = answer_query(query, Asking(self.table, self._ttl, self._rotation))
        if isinstance(answer, Unanswerable):
            return answer if answer is Unanswerable.FORWARD else None
        return encode_answer(query, answer, udp=udp)

    async def forward(self, wire: bytes, *, udp: bool) -> bytes | None:
        """The answer of the machine's resolvers, or the one that says there are none or that they are silent."""
        if self._forwards.locked() or not self._upstream.resolvers:
            # Without any resolver the machine knows no names, so there are none; that answer ends the asker's search at once.
            return self._refuse(wire, dns.rcode.SERVFAIL if self._upstream.resolvers else dns.rcode.NXDOMAIN)
        async with self._forwards:
            try:
                return await self._upstream.ask(wire, udp=udp)
            except ResolversSilent:
                return self._refuse(wire, dns.rcode.SERVFAIL)

    def _refuse(self, wire: bytes, code: dns.rcode.Rcode) -> bytes | None:
        query = parse_query(wire)
        return query if query is None or isinstance(query, bytes) else answer_with(query, code).to_wire()

    def _read_cache(self) -> NameTable | None:
        try:
            return read_table(json.loads(self._cache.read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


class NameServer:
    """Serves a NameBook on sockets in the node's network namespace, which the launcher keeps while no agent runs."""

    def __init__(self, launcher: Launcher, api: AsyncUnixHttp, state: Path, settings: AgentSettings) -> None:
        self._launcher = launcher
        self._api = api
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.book = NameBook(state / "names.json", Upstream(settings.resolv_conf, settings.upstream_timeout_seconds), settings)

    async def run(self, node: int, addresses: tuple[str, ...], ready: Callable[[], None] = lambda: None) -> None:
        """Answers until cancelled; `ready` is called once the sockets listen."""
        async with asyncio.TaskGroup() as tasks:
            for address in addresses:
                await self._serve(node, address, tasks)
            ready()
            tasks.create_task(self._follow_table(), name="names:table")

    async def _serve(self, node: int, address: str, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        datagrams = await self._socket(node, address, socket.SOCK_DGRAM)
        await loop.create_datagram_endpoint(lambda: _Datagrams(self.book, tasks), sock=datagrams)
        connections = await self._socket(node, address, socket.SOCK_STREAM)
        server = await asyncio.start_server(_Connections(self.book).serve, sock=connections)
        tasks.create_task(server.serve_forever(), name=f"names:tcp:{address}")

    async def _socket(self, node: int, address: str, kind: socket.SocketKind) -> socket.socket:
        name = f"names/{'udp' if kind == socket.SOCK_DGRAM else 'tcp'}/{address}"
        kept = await self._launcher.kept_socket(name)
        if kept is not None:
            # What was asked while no agent ran waits in its queue and is answered now.
            found = socket.socket(fileno=kept)
        else:
            found = await in_network_async(node, lambda: open_name_socket(address, kind))
            await self._launcher.keep_socket(name, found.fileno())
        found.setblocking(False)
        return found

    async def _follow_table(self) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(self._api.stream_lines("/v1/names?watch=true")) as lines:
                    async for line in lines:
                        self.book.learn(json.loads(line))
                        failures = 0
            except (NotReachable, RequestFailed) as exc:
                _log.debug("the names table is not available; the last one stays", reason=str(exc))
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                _log.warning("the names table is not understood; the last one stays", reason=repr(exc))
            failures += 1
            await asyncio.sleep(_RETRY.delay(failures))


def open_name_socket(address: str, kind: socket.SocketKind) -> socket.socket:
    """A bound (and for TCP listening) socket in the network namespace of the calling thread."""
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((address, NAME_PORT))
    if kind == socket.SOCK_STREAM:
        found.listen(128)
    return found


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, book: NameBook, tasks: asyncio.TaskGroup) -> None:
        self._book = book
        self._tasks = tasks
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is none by inheritance, so no isinstance can tell.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = self._book.answer_now(data, udp=True)
        if isinstance(answer, Unanswerable):
            self._tasks.create_task(self._forward(data, addr), name="names:forward")
        elif answer is not None:
            self._send(answer, addr)

    async def _forward(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = await self._book.forward(data, udp=True)
        if answer is not None:
            self._send(answer, addr)

    def _send(self, answer: bytes, addr: tuple[str | Any, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(answer, addr)


class _Connections:
    def __init__(self, book: NameBook) -> None:
        self._book = book
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= _TCP_CONNECTIONS:
            writer.close()
            return
        self._open += 1
        try:
            # An asker that went away, or says nothing, is no business of anybody.
            with suppress(OSError, EOFError, TimeoutError):
                while True:
                    await self._answer_one(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_TCP_IDLE_SECONDS):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            query = await reader.readexactly(length)
        answer = self._book.answer_now(query, udp=False)
        if isinstance(answer, Unanswerable):
            answer = await self._book.forward(query, udp=False)
        if answer is not None:
            writer.write(struct.pack("!H", len(answer)) + answer)
            # Who asks and never listens must not keep a place that others want.
            async with asyncio.timeout(_TCP_IDLE_SECONDS):
                await writer.drain()
