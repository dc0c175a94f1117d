"""An identity provider on this machine: HTTPS, keys that change, and every kind of misbehaviour."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.unit.citadel.foreign import WebAuthority
from tests.unit.policy.jwt_cases import Private, encode, jwks, signature

from hauberk.identity.trust_bundle import to_pem

HUGE = 1 << 30


class Provider:
    """`keys` are those it publishes now; `asked` counts requests by path; `authority` (a file) is whom to believe."""

    def __init__(self, port: int, authority: Path) -> None:
        self.port = port
        self.authority = authority
        self.keys: tuple[tuple[str, Private], ...] = ()
        self.asked: dict[str, int] = {}
        self.sent = 0
        self.ending = threading.Event()

    @property
    def issuer(self) -> str:
        return f"https://127.0.0.1:{self.port}/realm"

    def uri(self, path: str = "/keys", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        match request.path:
            case "/keys":
                self._say(request, jwks(*self.keys).encode())
            case "/realm/.well-known/openid-configuration":
                self._say(request, json.dumps({"issuer": self.issuer, "jwks_uri": self.uri()}).encode())
            case "/redirect":
                request.send_response(302)
                request.send_header("Location", self.uri())
                request.end_headers()
            case "/huge":
                self._flood(request)
            case "/slow":
                request.send_response(200)
                request.end_headers()
                self.ending.wait(20)
            case _:
                request.send_error(404)

    def _say(self, request: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _flood(self, request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(HUGE))
        request.end_headers()
        with suppress(OSError):
            while self.sent < HUGE:
                self.sent += request.wfile.write(b" " * 65536)


@contextmanager
def provider(directory: Path, *hosts: str) -> Iterator[Provider]:
    """A provider on every address of loopback; `directory` holds its files."""
    authority = WebAuthority()
    certificate, key = authority.issue(*hosts)
    (directory / "ca.pem").write_text(to_pem(authority.certificate))
    (directory / "own.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "own.pem")
    made: list[Provider] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def setup(self) -> None:
            # The handshake in the connection's own thread: one that never comes must not keep others waiting.
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_GET(self) -> None:
            made[0].answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever breaks off knows why."""

    with Server(("0.0.0.0", 0), Handler) as server:
        made.append(Provider(server.server_address[1], directory / "ca.pem"))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made[0]
        finally:
            made[0].ending.set()
            server.shutdown()


def token(provider: Provider, key: Private, kid: str, issuer: str = "") -> str:
    """A token of the provider, signed by `key`."""
    head = {"alg": "ES256", "kid": kid}
    claims = {"iss": issuer or provider.issuer, "sub": "joe"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{encode(signature(key, 'ES256', signed.encode()))}"
