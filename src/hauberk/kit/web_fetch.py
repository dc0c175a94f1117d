"""Fetches a document over HTTPS for somebody else's sake: within limits of time and size, and only from addresses that may be asked."""

from __future__ import annotations

import asyncio
import http.client
import io
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from hauberk.kit.web_url import InvalidUrl, WebUrl, redirected

_HEAD: Final = 64 * 1024  # bytes of status line and headers
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*(?:\r|$)", re.IGNORECASE)
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
# Mozilla's "intermediate" set for TLS 1.2; those of 1.3 are all good.
CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


class FetchFailed(Exception):
    """There is no document from there now; the message says why."""


class Server(Protocol):
    """Who must answer."""

    def context(self) -> ssl.SSLContext:
        """A context that completes a handshake with nobody else, or with those only among whom `check` picks."""

    def check(self, leaf: bytes) -> None:
        """The server's own certificate (DER), whose chain is proven, is the one that must be there; raises FetchFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """Whoever holds a certificate for the URL's host name (RFC 6125): of the machine's authorities, or of those in `ca_file`.

    `besides`: the authorities in `ca_file` are believed beside the machine's and not instead of them.
    """

    ca_file: Path | None = None
    besides: bool = False

    def context(self) -> ssl.SSLContext:
        """A context that completes a handshake with nobody else."""
        context = ssl.create_default_context(cafile=None if self.besides else self.ca_file)
        if self.besides and self.ca_file is not None:
            context.load_verify_locations(cafile=self.ca_file)
        context.hostname_checks_common_name = False
        return strict(context)

    def check(self, leaf: bytes) -> None:
        """Nothing more: the handshake has compared the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """`size`: bytes of a document. `reach`: whether an address may be asked. `redirects`: how many are followed."""

    size: int
    reach: Callable[[str], bool]
    redirects: int = 0


async def fetch(url: WebUrl, server: Server, limits: FetchLimits, what: str = "a URL to fetch from") -> bytes:
    """The document at `url`, served by `server`; raises FetchFailed. Redirects are followed, not remembered, and prove the same."""
    for _ in range(limits.redirects + 1):
        response, body = await _get(url, server, limits)
        if response.status in _REDIRECTING:
            location = response.getheader("location") or ""
            if not limits.redirects:
                raise FetchFailed(f"{url} answered with a redirect to {location[:200]!r}, and none is followed")
            url = _next(url, location, what)
            continue
        if response.status != 200:
            raise FetchFailed(f"{url} answered with status {response.status}")
        if response.getheader("content-encoding", "identity") != "identity":
            raise FetchFailed(f"{url} answered with an encoding that was not asked for")
        if len(body) > limits.size:
            raise FetchFailed(f"{url}: {_too_large(limits)}")
        return body
    raise FetchFailed(f"more than {limits.redirects} redirects")


def strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """`context` with the versions and ciphers that are still good."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context


def _next(url: WebUrl, location: str, what: str) -> WebUrl:
    try:
        return redirected(url, location, what)
    except InvalidUrl as exc:
        raise FetchFailed(str(exc)) from exc


async def _get(url: WebUrl, server: Server, limits: FetchLimits) -> tuple[http.client.HTTPResponse, bytes]:
    context = await _context(server) if url.scheme == "https" else None
    reader, writer = await _connect(url, context, limits)
    try:
        if context is not None:
            server.check(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.write(
            f"GET {url.target} HTTP/1.1\r\nHost: {url.authority}\r\nAccept: application/json\r\n"
            f"Accept-Encoding: identity\r\nUser-Agent: hauberk\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        await writer.drain()
        return _parse(url, await _read(reader, limits))
    except (OSError, ValueError, asyncio.IncompleteReadError) as exc:
        raise FetchFailed(f"{url}: {exc}") from exc
    finally:
        writer.transport.abort()


async def _context(server: Server) -> ssl.SSLContext:
    try:
        return await asyncio.to_thread(server.context)
    except OSError as exc:
        raise FetchFailed(f"the authorities to check the endpoint with cannot be read: {exc}") from exc


async def _connect(url: WebUrl, context: ssl.SSLContext | None, limits: FetchLimits) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address of the host that answers and may be asked.

    What is looked at is what is connected to: a name that leads elsewhere a moment later changes nothing.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise FetchFailed(f"the name {url.host} leads nowhere: {exc}") from exc
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    usable = [each for each in addresses if limits.reach(each)]
    if not usable:
        where = url.host if addresses == [url.host] else f"{url.host} ({', '.join(addresses)})"
        raise FetchFailed(f"{where} is a local or special address, from which nothing is fetched")
    failure: Exception | None = None
    for address in usable:
        try:
            name = url.host if context is not None else None
            return await asyncio.open_connection(address, url.port, ssl=context, server_hostname=name)
        except (OSError, ValueError) as exc:  # ssl's errors, and names that TLS cannot ask for
            failure = exc
    raise FetchFailed(f"{url.authority} cannot be reached: {_reason(failure)}") from failure


def _reason(failure: Exception | None) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not believed ({failure.verify_message})"
    return str(failure)


async def _read(reader: asyncio.StreamReader, limits: FetchLimits) -> bytes:
    data = bytearray()
    while piece := await reader.read(64 * 1024):
        data += piece
        if len(data) > limits.size + _HEAD:
            raise ValueError(_too_large(limits))
        if (announced := _announced(data)) is not None and len(data) >= announced:
            break  # a server that does not close the connection, though it was asked to, is not waited for
    return bytes(data)


def _announced(data: bytearray) -> int | None:
    """The length of the whole answer, if what there is of it says so."""
    head, ended, _ = data.partition(b"\r\n\r\n")
    found = _LENGTH.search(head) if ended else None
    return len(head) + len(ended) + int(found[1]) if found else None


def _too_large(limits: FetchLimits) -> str:
    return f"the answer is larger than {limits.size // 1024} kB"


class _Received:
    """What http.client takes for a socket: the whole answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(url: WebUrl, data: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    try:
        response = http.client.HTTPResponse(_Received(data), method="GET")  # type: ignore[arg-type]  # it only calls makefile
        response.begin()
        return response, response.read()
    except (http.client.HTTPException, ValueError) as exc:
        raise FetchFailed(f"{url} did not answer in HTTP, or not to its end: {type(exc).__name__}") from exc
