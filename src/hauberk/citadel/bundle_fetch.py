"""Fetches a foreign bundle (SPIFFE Federation, 5): over TLS that proves the server by one of two profiles, within limits."""

import asyncio
import http.client
import io
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from hauberk.citadel.bundle_url import BundleUrl, InvalidUrl, Network, is_allowed, parse_url, redirected
from hauberk.identity.bundle_document import MAX_BYTES
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.svid import InvalidSvid, leaf_spiffe_id
from hauberk.identity.trust_bundle import to_pem

SECONDS: Final = 10.0  # for all of one fetch, redirects included
REDIRECTS: Final = 5
_HEAD: Final = 64 * 1024  # bytes of status line and headers
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
# Mozilla's "intermediate" set for TLS 1.2; those of 1.3 are all good.
CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


class FetchFailed(Exception):
    """There is no bundle from that endpoint now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """Whoever holds a certificate for the URL's host name (RFC 6125), of the machine's authorities or of those in `ca_file`."""

    ca_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A context that completes a handshake with nobody else."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.hostname_checks_common_name = False
        return _strict(context)

    def check(self, leaf: x509.Certificate) -> None:
        """Nothing more: the handshake has compared the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeServer:
    """Whoever holds an X509-SVID for exactly `spiffe_id` by `authorities`, which are the latest known of its trust domain."""

    spiffe_id: SpiffeId
    authorities: Sequence[x509.Certificate]

    def context(self) -> ssl.SSLContext:
        """A context that completes a handshake with members of the trust domain only; which one is checked after it."""
        if not self.authorities:
            raise FetchFailed(f"no authority of trust domain {self.spiffe_id.trust_domain} is known that could vouch for the endpoint")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # A bundle's authorities are trusted as they are, also one that another has signed.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata="".join(to_pem(each) for each in self.authorities))
        return _strict(context)

    def check(self, leaf: x509.Certificate) -> None:
        """`leaf`, whose chain is proven, is an SVID of the one who must be there; raises FetchFailed."""
        try:
            found = leaf_spiffe_id(leaf)
        except InvalidSvid as exc:
            raise FetchFailed(f"the endpoint's certificate is no X509-SVID: {exc}") from exc
        if found != self.spiffe_id:
            raise FetchFailed(f"the endpoint is {found}, not {self.spiffe_id}")


Server = WebServer | SpiffeServer


async def fetch_bundle(url: str, server: Server, allowed: Sequence[Network] = (), *, seconds: float = SECONDS) -> bytes:
    """The newest document at `url`, served by `server`; raises FetchFailed. Redirects are followed, not remembered, and prove the same."""
    try:
        async with asyncio.timeout(seconds):
            return await _follow(parse_url(url), server, allowed)
    except TimeoutError as exc:
        raise FetchFailed(f"no whole answer within {seconds:g} s") from exc
    except InvalidUrl as exc:
        raise FetchFailed(str(exc)) from exc


async def _follow(url: BundleUrl, server: Server, allowed: Sequence[Network]) -> bytes:
    for _ in range(REDIRECTS + 1):
        response, body = await _get(url, server, allowed)
        if response.status in _REDIRECTING:
            url = redirected(url, response.getheader("location") or "")
            continue
        if response.status != 200:
            raise FetchFailed(f"{url} answered with status {response.status}")
        if response.getheader("content-encoding", "identity") != "identity":
            raise FetchFailed(f"{url} answered with an encoding that was not asked for")
        return body
    raise FetchFailed(f"more than {REDIRECTS} redirects")


async def _get(url: BundleUrl, server: Server, allowed: Sequence[Network]) -> tuple[http.client.HTTPResponse, bytes]:
    try:
        context = await asyncio.to_thread(server.context)
    except OSError as exc:
        raise FetchFailed(f"the authorities to check the endpoint with cannot be read: {exc}") from exc
    reader, writer = await _connect(url, context, allowed)
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        server.check(x509.load_der_x509_certificate(der))
        writer.write(
            f"GET {url.target} HTTP/1.1\r\nHost: {url.authority}\r\nAccept: application/json\r\n"
            f"Accept-Encoding: identity\r\nUser-Agent: hauberk\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        await writer.drain()
        return _parse(url, await _read(reader))
    except (OSError, ValueError, asyncio.IncompleteReadError) as exc:
        raise FetchFailed(f"{url}: {exc}") from exc
    finally:
        writer.transport.abort()


async def _connect(
    url: BundleUrl, context: ssl.SSLContext, allowed: Sequence[Network]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address of the host that answers and may be asked.

    What is looked at is what is connected to: a name that leads elsewhere a moment later changes nothing.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise FetchFailed(f"the name {url.host} leads nowhere: {exc}") from exc
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    usable = [each for each in addresses if is_allowed(each, allowed)]
    if not usable:
        raise FetchFailed(f"{url.host} is {', '.join(addresses)}: a local or special address, from which no bundle is fetched")
    failure: Exception | None = None
    for address in usable:
        try:
            return await asyncio.open_connection(address, url.port, ssl=context, server_hostname=url.host)
        except (OSError, ValueError) as exc:  # ssl's errors, and names that TLS cannot ask for
            failure = exc
    raise FetchFailed(f"{url.authority} cannot be reached: {_reason(failure)}") from failure


def _reason(failure: Exception | None) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not believed ({failure.verify_message})"
    return str(failure)


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while piece := await reader.read(64 * 1024):
        data += piece
        if len(data) > MAX_BYTES + _HEAD:
            raise ValueError(f"the answer is larger than {MAX_BYTES // 1024} kB")
    return bytes(data)


class _Received:
    """What http.client takes for a socket: the whole answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(url: BundleUrl, data: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    try:
        response = http.client.HTTPResponse(_Received(data), method="GET")  # type: ignore[arg-type]  # it only calls makefile
        response.begin()
        return response, response.read()
    except (http.client.HTTPException, ValueError) as exc:
        raise FetchFailed(f"{url} did not answer in HTTP, or not to its end: {type(exc).__name__}") from exc


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context
