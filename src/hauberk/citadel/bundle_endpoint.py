"""Serves our bundle to whoever asks (SPIFFE Federation, 5), and what else is made of public keys only: nobody is asked who he is."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hauberk.citadel.endpoint_identity import Identity
from hauberk.citadel.federation_settings import Listen
from hauberk.identity.bundle_document import encode_bundle
from hauberk.identity.trust import ForeignBundle, Trust
from hauberk.kit.log import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS: Final = 10.0  # for a handshake, and for a request with its answer
RETRY_SECONDS: Final = 5.0
CONNECTIONS: Final = 128  # at once; readers come once in minutes
_HEAD: Final = 16 * 1024

_log = logger("federation")

# JSON by the path of its URL.
Documents = Mapping[bytes, bytes]


def own_bundle(trust: Trust) -> ForeignBundle:
    """Our own domain's keys, as others are to believe them."""
    return ForeignBundle(
        trust_domain=trust.trust_domain,
        x509_authorities=trust.x509_authorities,
        jwt_keys=trust.jwt_keys,
        sequence=trust.sequence,
        refresh_hint=trust.refresh_hint,
    )


def bundle_documents(trust: Trust) -> Documents:
    """Our bundle, where SPIFFE's readers look for it."""
    return {b"/": encode_bundle(own_bundle(trust))}


class BundleEndpoint:
    """One address. What is served is always made of the Trust of the moment.

    `identity` None: without TLS, for a server before it that has some.
    """

    def __init__(
        self,
        listen: Listen,
        identity: Identity | None,
        trust: Callable[[], Trust],
        documents: Callable[[Trust], Documents] = bundle_documents,
    ) -> None:
        self._listen = listen
        self._identity = identity
        self._trust = trust
        self._documents = documents
        self._encoded: tuple[Trust, Documents] | None = None
        self._connections = 0
        self._problem = ""

    async def run(self) -> NoReturn:
        """Serves until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._identity is not None:
                tasks.create_task(self._identity.run(), name="bundle-endpoint:identity")
            while True:
                # An address that is taken must not end an authority that others depend on; it may come free.
                try:
                    async with self.serving():
                        await asyncio.Event().wait()
                except OSError as exc:
                    self._tell(exc)
                await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError("a task that never ends has ended")

    def _tell(self, failure: OSError) -> None:
        reason = failure.strerror or str(failure)
        if reason != self._problem:
            _log.error("public keys cannot be served", host=self._listen.host, port=self._listen.port, reason=reason)
        self._problem = reason

    @asynccontextmanager
    async def serving(self) -> "AsyncIterator[asyncio.Server]":
        """The address answers meanwhile; handshakes fail until the identity has a context."""
        listen = self._listen
        tls: dict[str, Any] = {} if self._identity is None else {"ssl": self._front(self._identity), "ssl_handshake_timeout": SECONDS}
        server = await asyncio.start_server(self._answer, listen.host or None, listen.port, limit=_HEAD, **tls)
        async with server:
            _log.info("serving public keys", host=listen.host, port=listen.port, profile=listen.profile.value, tls=bool(tls))
            yield server

    def _front(self, identity: Identity) -> ssl.SSLContext:
        """A context that lends every handshake the newest one: certificates change while the server runs."""

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
            if identity.context is None:
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            connection.context = identity.context
            return None

        front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        front.minimum_version = ssl.TLSVersion.TLSv1_2
        front.set_alpn_protocols(["http/1.1"])
        front.sni_callback = choose  # also called for who names no server
        return front

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS:
                async with asyncio.timeout(SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so slowly, so much or not at all gets no answer
        finally:
            self._connections -= 1
            writer.transport.abort()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].partition(b"?")[0]
        document = self._current().get(target)
        if document is None:
            return _http("404 Not Found", b"")
        if method not in (b"GET", b"HEAD"):
            return _http("405 Method Not Allowed", b"", "Allow: GET, HEAD\r\n")
        return _http("200 OK", document, "Content-Type: application/json\r\n", bodiless=method == b"HEAD")

    def _current(self) -> Documents:
        trust = self._trust()
        if self._encoded is None or self._encoded[0] is not trust:
            self._encoded = trust, self._documents(trust)
        return self._encoded[1]


def _http(status: str, body: bytes, fields: str = "", *, bodiless: bool = False) -> bytes:
    head = f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + (b"" if bodiless else body)
