"""A pod of the mesh whose sidecar was replaced by a program that shows what it likes."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field

from tests.e2e.envoy_rig import RigPod
from tests.e2e.forged import Certified, context, peek_hello


@dataclass
class Rogue:
    """`hellos`: the first TLS record of each caller; `seen`: bytes that callers sent after the handshake."""

    pod: RigPod
    shown: Certified | None = None
    newest: ssl.TLSVersion | None = None
    hellos: list[bytes] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)

    def serve(self, *ports: int) -> None:
        for port in ports:
            self.pod.serve(port, self._handle)

    def _handle(self, connection: socket.socket) -> None:
        self.hellos.append(peek_hello(connection))
        with suppress(OSError), context(True, self.shown, self.newest).wrap_socket(connection, server_side=True) as wrapped:
            if said := wrapped.recv(4096):
                self.seen.append(said)
                wrapped.sendall(b"heard " + said)
