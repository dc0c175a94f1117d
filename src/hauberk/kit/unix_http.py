"""HTTP/1.1 over a Unix socket: `UnixHttp` for the CLI, `AsyncUnixHttp` for services.

Written on sockets, not on http.client: that import alone costs a command 30 ms. For the same reason asyncio is imported only
where it is used. One connection serves one request; between processes of one machine a connection costs microseconds.
"""

from __future__ import annotations

import json as json_codec
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

DEFAULT_TIMEOUT = 30.0  # seconds until a request without an answer is given up
LONGEST_HEAD = 64 * 1024  # bytes of status line and headers; the peer is ours, but a wrong socket may answer anything
LONGEST_LINE = 64 * 1024 * 1024  # bytes of one line of a stream: a whole names table of a large mesh fits


class NotReachable(Exception):
    """Nobody answers at the socket: it is absent, refused, or the peer went away before it answered."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class RequestTimedOut(NotReachable):
    """The peer took the request and did not answer in time."""


class RequestFailed(Exception):
    """A stream could not be opened: the peer answered with an error status; `body` is its parsed answer."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        text = self.headers.get("content-length")
        return int(text) if text is not None else None

    @property
    def bodiless(self) -> bool:
        return self.status in (204, 304) or self.status < 200


def encode_request(method: str, path: str, json: Any, headers: Mapping[str, str] | None) -> bytes:
    """The request's bytes; a body is sent as JSON unless a content-type header says which JSON it is."""
    body = b"" if json is None else json_codec.dumps(json, separators=(",", ":")).encode()
    fields = {"host": "hauberk", "connection": "close", "content-length": str(len(body))}
    if json is not None:
        fields["content-type"] = "application/json"
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def parse_head(block: bytes) -> Head:
    """Head of an answer; ValueError if this is not HTTP."""
    first, *rest = block.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ", 2)
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not an HTTP answer: {first[:80]!r}")
    pairs = (line.split(":", 1) for line in rest if ":" in line)
    return Head(int(status), {name.strip().lower(): value.strip() for name, value in pairs})


def decode_body(head: Head, body: bytes) -> Any:
    """Parsed JSON, None for nothing, text for anything else, such as lines of JSON."""
    if not body:
        return None
    if head.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
        return json_codec.loads(body)
    return body.decode("utf-8", "replace")


class UnixHttp:
    """Blocking client for commands."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and parsed body of the answer, whatever the status is."""
        with self._send(method, path, json, timeout, headers) as connection, connection.makefile("rb") as stream:
            try:
                head = _read_head(stream)
                return head.status, decode_body(head, b"".join(_read_body(stream, head)))
            except TimeoutError as error:
                raise RequestTimedOut(self.path, f"no answer within {timeout} s") from error
            except (OSError, EOFError, ValueError) as error:
                raise NotReachable(self.path, str(error) or "the connection was closed") from error

    def stream_lines(self, path: str, *, method: str = "GET", json: Any = None, timeout: float | None = None) -> Iterator[str]:
        """Lines of the answer as they come, without their newline; ends when the peer ends it in order.

        RequestFailed for an error status, NotReachable when the peer goes away in the middle.
        """
        with self._send(method, path, json, timeout, None) as connection, connection.makefile("rb") as stream:
            try:
                head = _read_head(stream)
                if head.status >= 400:
                    raise RequestFailed(head.status, decode_body(head, b"".join(_read_body(stream, head))))
                lines = _Lines()
                for piece in _read_body(stream, head):
                    yield from lines.add(piece)
                yield from lines.rest()
            except (OSError, EOFError, ValueError) as error:
                raise NotReachable(self.path, str(error) or "the connection was closed") from error

    def _send(self, method: str, path: str, json: Any, timeout: float | None, headers: Mapping[str, str] | None) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(str(self.path))
            connection.sendall(encode_request(method, path, json, headers))
        except OSError as error:
            connection.close()
            raise NotReachable(self.path, error.strerror or str(error)) from error
        return connection


class AsyncUnixHttp:
    """The same for services on asyncio."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    async def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and parsed body of the answer, whatever the status is."""
        import asyncio  # noqa: PLC0415 - the CLI imports this module and must not pay for asyncio

        try:
            async with asyncio.timeout(timeout):
                head, pieces = await self._open(method, path, json, headers)
                body = b"".join([piece async for piece in pieces])
        except TimeoutError as error:
            raise RequestTimedOut(self.path, f"no answer within {timeout} s") from error
        return head.status, decode_body(head, body)

    async def stream_lines(self, path: str, *, method: str = "GET", json: Any = None) -> AsyncGenerator[str]:
        """Lines of the answer as they come; errors as with `UnixHttp.stream_lines`. Close it with `contextlib.aclosing`."""
        head, pieces = await self._open(method, path, json, None)
        try:
            if head.status >= 400:
                raise RequestFailed(head.status, decode_body(head, b"".join([piece async for piece in pieces])))
            lines = _Lines()
            async for piece in pieces:
                for line in lines.add(piece):
                    yield line
            for line in lines.rest():
                yield line
        finally:
            await pieces.aclose()

    async def _open(self, method: str, path: str, json: Any, headers: Mapping[str, str] | None) -> tuple[Head, AsyncGenerator[bytes]]:
        import asyncio  # noqa: PLC0415 - as above

        try:
            reader, writer = await asyncio.open_unix_connection(str(self.path), limit=LONGEST_HEAD)
        except OSError as error:
            raise NotReachable(self.path, error.strerror or str(error)) from error
        try:
            writer.write(encode_request(method, path, json, headers))
            await writer.drain()
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            writer.close()
            raise NotReachable(self.path, str(error) or "the connection was closed") from error
        except BaseException:
            writer.close()
            raise
        return head, self._pieces(reader, writer, head)

    async def _pieces(self, reader: StreamReader, writer: StreamWriter, head: Head) -> AsyncGenerator[bytes]:
        try:
            async for piece in _read_body_async(reader, head):
                yield piece
        except (OSError, EOFError, ValueError) as error:
            raise NotReachable(self.path, str(error) or "the connection was closed") from error
        finally:
            writer.close()


class _Lines:
    """Cuts pieces of bytes into lines of text."""

    def __init__(self) -> None:
        self._held = bytearray()

    def add(self, piece: bytes) -> Iterator[str]:
        """Lines that are complete with `piece`."""
        self._held += piece
        if b"\n" not in piece:
            if len(self._held) > LONGEST_LINE:
                raise ValueError(f"a line is longer than {LONGEST_LINE} bytes")
            return
        *lines, held = bytes(self._held).split(b"\n")
        self._held = bytearray(held)
        for line in lines:
            yield line.decode("utf-8", "replace")

    def rest(self) -> Iterator[str]:
        """The last line, if the peer did not end it."""
        if self._held:
            yield bytes(self._held).decode("utf-8", "replace")
            self._held.clear()


def _read_head(stream: BufferedReader) -> Head:
    block = bytearray()
    while not block.endswith(b"\r\n\r\n"):
        line = stream.readline(LONGEST_HEAD)
        block += line
        if not line:
            raise EOFError("the connection was closed before an answer came")
        if len(block) > LONGEST_HEAD:
            raise ValueError("the head of the answer is too long")
    return parse_head(bytes(block))


def _read_body(stream: BufferedReader, head: Head) -> Iterator[bytes]:
    if head.bodiless:
        return
    if head.chunked:
        while size := _chunk_size(stream.readline(LONGEST_HEAD)):
            yield _exactly(stream, size)
            _exactly(stream, 2)
    elif (length := head.length) is not None:
        while length > 0:
            piece = stream.read1(min(length, 65536))
            if not piece:
                raise EOFError("the connection was closed in the middle of the answer")
            length -= len(piece)
            yield piece
    else:
        while piece := stream.read1(65536):
            yield piece


def _exactly(stream: BufferedReader, size: int) -> bytes:
    piece = stream.read(size)
    if len(piece) != size:
        raise EOFError("the connection was closed in the middle of the answer")
    return piece


async def _read_body_async(reader: StreamReader, head: Head) -> AsyncGenerator[bytes]:
    if head.bodiless:
        return
    if head.chunked:
        while size := _chunk_size(await reader.readline()):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif (length := head.length) is not None:
        while length > 0:
            piece = await reader.read(min(length, 65536))
            if not piece:
                raise EOFError("the connection was closed in the middle of the answer")
            length -= len(piece)
            yield piece
    else:
        while piece := await reader.read(65536):
            yield piece


def _chunk_size(line: bytes) -> int:
    if not line.endswith(b"\n"):
        raise EOFError("the connection was closed in the middle of the answer")
    return int(line.split(b";", 1)[0], 16)
