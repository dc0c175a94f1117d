"""Envoy's admin interface: HTTP on a Unix socket that only this agent (and that Envoy) reaches."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 10.0  # seconds; a configuration dump of a large mesh takes one or two
LARGEST_ANSWER = 256 * 1024 * 1024  # bytes; a dump beyond this would cost the agent its memory
_HEAD_LIMIT = 64 * 1024


class AdminUnreachable(Exception):
    """Envoy does not answer: it is not running, just starting, or stuck."""


@dataclass(frozen=True, slots=True)
class EnvoyAdmin:
    """The admin interface behind `socket`. Answers are bytes: dumps are passed on unread."""

    socket: Path

    async def request(self, method: str, path: str, timeout: float = TIMEOUT) -> tuple[int, bytes]:
        """Status and body of the answer; AdminUnreachable if none comes."""
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(method, path)
        except TimeoutError as exc:
            raise AdminUnreachable(f"{self.socket}: no answer within {timeout} s") from exc
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
            raise AdminUnreachable(f"{self.socket}: {exc or type(exc).__name__}") from exc

    async def is_ready(self) -> bool:
        """Whether Envoy says that it serves."""
        try:
            status, _ = await self.request("GET", "/ready", timeout=2.0)
        except AdminUnreachable:
            return False
        return status == 200

    async def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=_HEAD_LIMIT)
        try:
            writer.write(encode_request(method, path))
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await _read_all(reader)
            return int(head.partition(b" ")[2][:3]), decode_chunks(body) if b"transfer-encoding: chunked" in head.lower() else body
        finally:
            writer.close()


def encode_request(method: str, path: str) -> bytes:
    """The request's bytes; a path that could smuggle a second request raises ValueError."""
    line = f"{method} {path}"
    if not path.startswith("/") or not method.isalpha() or not line.isascii() or not line.isprintable() or " " in path:
        raise ValueError(f"{line[:80]!r} is not a request that Envoy's admin interface can be sent")
    return f"{line} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()


def decode_chunks(body: bytes) -> bytes:
    """A body without its chunks' framing; ValueError if it is cut off."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(pieces)
        begin = end + 2
        if len(body) < begin + size + 2:
            raise ValueError("the answer was cut off")
        pieces.append(body[begin : begin + size])
        at = begin + size + 2


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(1 << 18):
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise ValueError("the answer is too long")
    return bytes(body)
