"""Ordinary programs that know nothing of a mesh, for pods of tests: servers of each protocol.

`python programs.py http@0.0.0.0:8080 tcp@[::]:9000 …` serves, and prints a line for each connection that reaches it. An empty
address is the pod's own, of the variable POD_IP.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def server_command(*specifications: str) -> list[str]:
    """The command of a program that serves each of `kind@address:port`."""
    return [sys.executable, str(Path(__file__).resolve()), *specifications]


def say(kind: str, here: Any, peer: Any) -> None:
    """What the test sees of a connection in the program's log."""
    print(f"{kind} {here[1]} reached by {peer[0]}", flush=True)


class Http(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; speaks WebSocket if asked to upgrade."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        say("http", self.connection.getsockname(), self.client_address)

    def do_GET(self) -> None:
        if self.headers.get("upgrade", "").lower() == "websocket":
            return self._websocket()
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        seen = {
            "server": os.uname().nodename,
            "method": self.command,
            "path": self.path,
            "version": self.request_version,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "local": self.connection.getsockname()[0],
            "body": body.decode(),
        }
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)
        return None

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def _websocket(self) -> None:
        key = self.headers["sec-websocket-key"].encode()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest()).decode())
        self.end_headers()
        while len(head := self.rfile.read(2)) == 2:
            length, mask = head[1] & 0x7F, self.rfile.read(4)
            text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes((0x81, length)) + text.upper())
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the log is for connections."""


class Tcp(socketserver.StreamRequestHandler):
    """Sends each line back in capitals."""

    kind: ClassVar[str] = "tcp"

    def handle(self) -> None:
        say(self.kind, self.request.getsockname(), self.client_address)
        for line in self.rfile:
            self.wfile.write(line.upper())


class Greet(Tcp):
    """Speaks first, as mail and database servers do."""

    kind = "greet"

    def handle(self) -> None:
        self.wfile.write(b"220 welcome\n")
        super().handle()


class Http2(socketserver.BaseRequestHandler):
    """HTTP/2 with prior knowledge; answers with the path."""

    def handle(self) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import DataReceived, RequestReceived

        say("h2", self.request.getsockname(), self.client_address)
        line = H2Connection(config=H2Configuration(client_side=False))
        line.initiate_connection()
        self.request.sendall(line.data_to_send())
        while data := self.request.recv(65536):
            for event in line.receive_data(data):
                if isinstance(event, RequestReceived) and event.stream_id is not None:
                    path = dict(event.headers or ())[b":path"].decode()
                    line.send_headers(event.stream_id, [(":status", "200")])
                    line.send_data(event.stream_id, path.encode(), end_stream=True)
                elif isinstance(event, DataReceived) and event.stream_id is not None:
                    line.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            self.request.sendall(line.data_to_send())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def _serve_grpc(address: str) -> None:
    import grpc

    def chat(words: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for word in words:
            yield word.upper()

    def health(request: bytes, context: Any) -> bytes:
        return b"\x08\x01" if not Path("/tmp/sick").exists() else b"\x08\x02"

    own = grpc.method_handlers_generic_handler(
        "test.Echo",
        {
            "Once": grpc.unary_unary_rpc_method_handler(lambda word, context: word.upper()),
            "Count": grpc.unary_stream_rpc_method_handler(lambda word, context: (str(n).encode() for n in range(int(word)))),
            "Chat": grpc.stream_stream_rpc_method_handler(chat),
        },
    )
    checks = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(health)})
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((own, checks))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def _serve(specification: str) -> None:
    kind, _, place = specification.partition("@")
    host, _, port = place.rpartition(":")
    if kind == "grpc":
        return _serve_grpc(place)
    host = host.strip("[]") or os.environ["POD_IP"]
    handler = {"http": Http, "tcp": Tcp, "greet": Greet, "h2": Http2}[kind]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = type("Listening", (_Server,), {"address_family": family})
    listening((host, int(port)), handler).serve_forever()
    return None


def serve(*specifications: str) -> None:
    """Serve each of them until told to end."""
    for each in specifications:
        threading.Thread(target=_serve, args=(each,), daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


if __name__ == "__main__":
    serve(*sys.argv[1:])
