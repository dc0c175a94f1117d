"""Requests as no honest client writes them, sent byte by byte or frame by frame, and a program that tells exactly what reached it."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, StreamReset
from tests.e2e.envoy_rig import Rig, RigPod
from tests.e2e.envoy_rig_programs import Http2Answer


def recorder(connection: socket.socket) -> None:
    """Answers each request with its lines, headers as they came."""
    file = connection.makefile("rb")
    while line := file.readline():
        lines = [line.decode("latin-1").strip("\r\n")]
        length = 0
        while field := file.readline().strip(b"\r\n"):
            lines.append(field.decode("latin-1"))
            if field.lower().startswith(b"content-length:"):
                length = int(field.split(b":")[1])
        file.read(length)
        seen = json.dumps(lines).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen), seen))


@dataclass(frozen=True)
class Seen:
    """The status of the answer, 0 if there was none, and the lines that the program saw, empty if it saw nothing."""

    status: int
    lines: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.lines[0].split(" ")[1]

    @property
    def method(self) -> str:
        return self.lines[0].split(" ")[0]

    def values(self, name: str) -> list[str]:
        """Of all headers that a program which reads them as CGI does would take for `name`."""
        fields = (line.partition(":") for line in self.lines[1:])
        return [value.strip() for key, _, value in fields if key.strip().lower().replace("_", "-") == name]


@dataclass(frozen=True)
class Caller:
    """Connects from `pod` to an address; with `tls` as a member of the mesh that writes its own bytes."""

    pod: RigPod
    address: tuple[str, int]
    tls: ssl.SSLContext | None = None

    def connect(self, alpn: str) -> socket.socket:
        connection = self.pod.connect(*self.address)
        if self.tls is None:
            return connection
        self.tls.set_alpn_protocols([alpn])
        return self.tls.wrap_socket(connection)

    def say(self, request: bytes) -> Seen:
        """One HTTP/1 request, whatever it looks like."""
        with self.connect("http/1.1") as connection:
            connection.settimeout(5)
            connection.sendall(request)
            file = connection.makefile("rb")
            try:
                status = file.readline()
                length = 0
                while field := file.readline().strip():
                    if field.lower().startswith(b"content-length:"):
                        length = int(field.split(b":")[1])
                return _seen(int(status.split()[1]) if status else 0, file.read(length))
            except ConnectionResetError:
                return Seen(0)

    def get(self, path: str, *fields: str, host: str = "web", method: str = "GET") -> Seen:
        """A request whose lines are as they are given."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
        return self.say("\r\n".join(lines).encode("latin-1"))

    def frames(self, fields: Iterable[tuple[str, str]]) -> Seen:
        """One HTTP/2 request with exactly these fields."""
        config = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8")
        with self.connect("h2") as connection:
            connection.settimeout(5)
            state = H2Connection(config)
            state.initiate_connection()
            state.send_headers(1, list(fields), end_stream=True)
            connection.sendall(state.data_to_send())
            answer = Http2Answer()
            refused = False
            while not answer.ended and not refused and (data := connection.recv(65536)):
                for event in state.receive_data(data):
                    answer.take(event)
                    refused = refused or isinstance(event, StreamReset | ConnectionTerminated)
        return _seen(int(answer.headers.get(":status", 0)), answer.body)


def _seen(status: int, body: bytes) -> Seen:
    return Seen(status, tuple(json.loads(body))) if status == 200 and body.startswith(b"[") else Seen(status)


def member(made: Rig, account: str, directory: Path) -> ssl.SSLContext:
    """TLS with the certificate of `account`, for a program that speaks for itself."""
    certificate, key = made.authority.issue(account)
    (directory / account).write_bytes(certificate + key)
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(directory / account)
    return tls
