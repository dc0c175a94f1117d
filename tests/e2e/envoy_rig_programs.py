"""Programs for the rig's pods, none of which knows of the mesh: HTTP/1.1, HTTP/2, gRPC, WebSocket, and plain TCP."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived

WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def http1(connection: socket.socket) -> None:
    """Answers each request with what it saw of it; an upgrade to a WebSocket turns it into an echo of bytes."""
    file = connection.makefile("rb")
    while line := file.readline():
        method, path, version = line.decode().split()
        headers: dict[str, str] = {}
        while field_line := file.readline().strip():
            name, _, value = field_line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("upgrade") == "websocket":
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
            while data := connection.recv(4096):
                connection.sendall(b"echo " + data)
            return
        body = file.read(int(headers.get("content-length", 0)))
        seen = json.dumps({"method": method, "path": path, "version": version, "headers": headers, "body": body.decode()}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nserver: a-program\r\nx-own: kept\r\n\r\n%b" % (len(seen), seen))


def http2(connection: socket.socket) -> None:
    """The same over HTTP/2 without TLS; a gRPC call gets its status in trailers."""
    state = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    state.initiate_connection()
    connection.sendall(state.data_to_send())
    requests: dict[int, dict[str, str]] = {}
    while data := connection.recv(65536):
        for event in state.receive_data(data):
            if isinstance(event, DataReceived):
                state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, RequestReceived):
                requests[event.stream_id] = {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, StreamEnded):
                _answer(state, event.stream_id, requests.pop(event.stream_id))
        connection.sendall(state.data_to_send())


def _answer(state: H2Connection, stream: int, headers: dict[str, str]) -> None:
    grpc = headers.get("content-type") == "application/grpc"
    seen = json.dumps({"method": headers[":method"], "path": headers[":path"], "version": "HTTP/2", "headers": headers}).encode()
    state.send_headers(stream, [(":status", "200"), *([("content-type", "application/grpc")] if grpc else [])])
    state.send_data(stream, seen, end_stream=not grpc)
    if grpc:
        state.send_headers(stream, [("grpc-status", "5")], end_stream=True)


def speaks_first(connection: socket.socket) -> None:
    """Greets whoever connects, then says what it heard."""
    connection.sendall(b"welcome\n")
    connection.sendall(b"heard " + connection.recv(4096))


def listens_first(connection: socket.socket) -> None:
    """Says what it heard."""
    connection.sendall(b"heard " + connection.recv(4096))


@dataclass
class Http2Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    def take(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self.headers = {str(k): str(v) for k, v in event.headers}
            case TrailersReceived():
                self.trailers = {str(k): str(v) for k, v in event.headers}
            case DataReceived():
                self.body += event.data or b""
            case StreamEnded() | ConnectionTerminated():
                self.ended = True
            case _:
                pass


def request_http2(connection: socket.socket, host: str, path: str = "/", headers: dict[str, str] | None = None) -> Http2Answer:
    """One request over HTTP/2 with prior knowledge, on a connection of a pod's program."""
    state = H2Connection(H2Configuration(header_encoding="utf-8"))
    state.initiate_connection()
    fields = {":method": "POST", ":path": path, ":scheme": "http", ":authority": host, **(headers or {})}
    state.send_headers(1, list(fields.items()), end_stream=True)
    connection.sendall(state.data_to_send())
    answer = Http2Answer()
    while not answer.ended and (data := connection.recv(65536)):
        for event in state.receive_data(data):
            answer.take(event)
    return answer


def converse(connection: socket.socket, say: bytes = b"hello") -> bytes:
    """Everything that comes back after `say`, until the other side closes."""
    connection.settimeout(5)
    heard = b""
    with connection:
        connection.sendall(say)
        try:
            while data := connection.recv(4096):
                heard += data
        except ConnectionResetError:
            return heard + b"<reset>"
    return heard
