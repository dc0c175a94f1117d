"""A program that calls a pod's sidecar directly, as any of several identities or as none, over connections that it keeps."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.e2e.envoy_rig import RigPod
from tests.e2e.envoy_rig_server import Authority

from hauberk.translate.tls import ALPN_TCP

_SECONDS: Final = 10.0


class Caller:
    """Calls `target` from `pod`; `identity` is a SPIFFE ID of the usual form, None for plaintext."""

    def __init__(self, pod: RigPod, target: RigPod, directory: Path, authority: Authority, identity: str | None) -> None:
        self._pod = pod
        self._target = target
        self._context = None if identity is None else _context(directory, authority, identity)
        self._of_bytes = None if identity is None else _context(directory, authority, identity)
        if self._of_bytes is not None:
            self._of_bytes.set_alpn_protocols([ALPN_TCP])
        self._open: dict[tuple[int, bool, str], tuple[socket.socket, bytearray]] = {}

    def request(self, port: int, head: bytes, *, ipv6: bool = False, sni: str = "") -> tuple[int, bytes]:
        """Status and body of the answer to a request without body."""
        for attempt in range(2):
            place = port, ipv6, sni
            kept = place in self._open
            connection, buffer = self._open.pop(place) if kept else (self.connect(port, ipv6=ipv6, sni=sni), bytearray())
            try:
                connection.sendall(head)
                status, body, closes = _answer(connection, buffer)
            except (OSError, EOFError):
                connection.close()
                # A connection that was kept may have been ended in the meantime; a new one may not.
                if attempt or not kept:
                    raise
                continue
            if closes:
                connection.close()
            else:
                self._open[place] = connection, buffer
            return status, body
        raise AssertionError

    def connect(self, port: int, *, ipv6: bool = False, sni: str = "") -> socket.socket:
        """A new connection for requests."""
        return self._connect(self._context, self._pod.connect(self._target.addresses[ipv6], port, timeout=_SECONDS), sni)

    def connect_bytes(self, port: int, source: int, *, ipv6: bool = False, sni: str = "") -> socket.socket:
        """A new connection for bytes, with the words by which sidecars know each other, from the port `source`."""
        address, anywhere = self._target.addresses[ipv6], "::" if ipv6 else "0.0.0.0"
        raw = self._pod.inside(lambda: socket.create_connection((address, port), _SECONDS, (anywhere, source)))
        return self._connect(self._of_bytes, raw, sni)

    @staticmethod
    def _connect(context: ssl.SSLContext | None, raw: socket.socket, sni: str) -> socket.socket:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return raw if context is None else context.wrap_socket(raw, server_hostname=sni or None)

    def close(self) -> None:
        for connection, _ in self._open.values():
            with suppress(OSError):
                connection.close()


def _context(directory: Path, authority: Authority, identity: str) -> ssl.SSLContext:
    namespace, _, account = identity.partition("/ns/")[2].partition("/sa/")
    certificate, key = authority.issue(account, namespace)
    path = directory / f"{namespace}-{account}.pem".replace("/", "-")
    path.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the sidecar is what is tested
    context.load_cert_chain(path)
    return context


def _answer(connection: socket.socket, buffer: bytearray) -> tuple[int, bytes, bool]:
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        _more(connection, buffer)
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    whole = end + 4 + int(headers.get("content-length", 0))
    while len(buffer) < whole:
        _more(connection, buffer)
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    return int(first.split()[1]), body, headers.get("connection", "").lower() == "close"


def _more(connection: socket.socket, buffer: bytearray) -> None:
    data = connection.recv(65536)
    if not data:
        raise EOFError
    buffer += data
