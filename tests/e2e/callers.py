"""Callers of each protocol, which run inside pods: one call, and its outcome as one JSON document.

`python callers.py '{"kind": "http", "host": "web", "port": 80}'`; `{"error": …}` says why there was no answer.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hauberk.testing.namespace import MeshNamespace

TIMEOUT = 10.0  # seconds until a caller gives up
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def ask_often(mesh: MeshNamespace, pod: str, kind: str, host: str, port: int, times: int, **more: Any) -> list[Any]:
    """As `ask`, one after the other by one program, each on a connection of its own."""
    found: list[Any] = ask(mesh, pod, kind, host, port, times=times, **more)
    return found


def ask(mesh: MeshNamespace, pod: str, kind: str, host: str, port: int, **more: Any) -> Any:
    """What a program in `pod` gets by calling `host`; `{"error": …}` if it gets no answer."""
    question = {"kind": kind, "host": host, "port": port, **more}
    return json.loads(mesh.exec(pod, sys.executable, str(Path(__file__).resolve()), json.dumps(question)).check().stdout)


def _dial(ask: dict[str, Any]) -> socket.socket:
    family = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}[ask.get("family", 0)]
    found = socket.getaddrinfo(ask["host"], ask["port"], family, socket.SOCK_STREAM)
    line = socket.socket(found[0][0], socket.SOCK_STREAM)
    line.settimeout(ask.get("timeout", TIMEOUT))
    line.connect(found[0][4])
    return line


def _call_http(ask: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection(ask["host"], ask["port"], timeout=TIMEOUT)
    connection.sock = _dial(ask)
    connection.request(ask.get("method", "GET"), ask.get("path", "/"), ask.get("body"), ask.get("headers", {}))
    answer = connection.getresponse()
    body = answer.read()
    return {"status": answer.status, "headers": dict(answer.getheaders()), "body": body.decode()}


def _call_websocket(ask: dict[str, Any]) -> Any:
    line = _dial(ask)
    key = base64.b64encode(os.urandom(16))
    head = f"GET /chat HTTP/1.1\r\nhost: {ask['host']}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    line.sendall(f"{head}sec-websocket-version: 13\r\nsec-websocket-key: {key.decode()}\r\n\r\n".encode())
    stream = line.makefile("rb")
    status = int(stream.readline().split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (raw.decode().partition(":") for raw in iter(stream.readline, b"\r\n"))}
    proof = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest()).decode()
    said = []
    for word in ask["words"]:
        line.sendall(bytes((0x81, 0x80 | len(word))) + b"\0\0\0\0" + word.encode())
        said.append(stream.read(stream.read(2)[1]).decode())
    return {"status": status, "said": said, "proven": headers.get("sec-websocket-accept") == proof}


def _call_tcp(ask: dict[str, Any]) -> Any:
    line = _dial(ask)
    stream = line.makefile("rb")
    greeting = stream.readline().decode() if ask["kind"] == "greet" else ""
    said = []
    for word in ask.get("words", ("hello",)):
        line.sendall(f"{word}\n".encode())
        said.append(stream.readline().decode().strip())
    return {"greeting": greeting.strip(), "said": said}


def _call_raw(ask: dict[str, Any]) -> Any:
    """Sends `text`, ends its own direction if `ends`, and reads until the other one ends."""
    line = _dial(ask)
    line.sendall(ask["text"].encode())
    if ask.get("ends"):
        line.shutdown(socket.SHUT_WR)
    return {"answer": b"".join(iter(lambda: line.recv(65536), b"")).decode()}


def _call_h2(ask: dict[str, Any]) -> Any:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

    socket_, line = _dial(ask), H2Connection(config=H2Configuration(client_side=True))
    line.initiate_connection()
    paths = ask.get("paths", ("/one", "/two"))
    for number, path in enumerate(paths):  # side by side on one connection
        authority = f"{ask['host']}:{ask['port']}"
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path)]
        line.send_headers(1 + 2 * number, headers, end_stream=True)
    socket_.sendall(line.data_to_send())
    statuses: dict[int, str] = {}
    bodies: dict[int, str] = {}
    ended: set[int] = set()
    while len(ended) < len(paths) and (data := socket_.recv(65536)):
        for event in line.receive_data(data):
            stream = getattr(event, "stream_id", None) or 0
            if isinstance(event, ResponseReceived):
                statuses[stream] = dict(event.headers or ())[b":status"].decode()
            elif isinstance(event, DataReceived):
                bodies[stream] = bodies.get(stream, "") + (event.data or b"").decode()
            elif isinstance(event, StreamEnded | StreamReset):
                ended.add(stream)
        socket_.sendall(line.data_to_send())
    return {"statuses": list(statuses.values()), "bodies": sorted(bodies.values())}


def _call_grpc(ask: dict[str, Any]) -> Any:
    import grpc

    family = ask.get("family", 0)
    host = _dial(ask).getpeername()[0] if family else ask["host"]
    with grpc.insecure_channel(f"[{host}]:{ask['port']}" if ":" in host else f"{host}:{ask['port']}") as channel:
        try:
            # Without serializers, messages are bytes.
            unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Echo/Once")
            stream: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Echo/Count")
            talk: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream("/test.Echo/Chat")
            once = unary(b"hello", timeout=TIMEOUT)
            count = list(stream(b"5", timeout=TIMEOUT))
            chat = list(talk(iter((b"a", b"b")), timeout=TIMEOUT))
        except grpc.RpcError as error:
            return {"error": f"{error.code().name}: {error.details()}"}
        return {"once": once.decode(), "count": [each.decode() for each in count], "chat": [each.decode() for each in chat]}


CALLERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "http": _call_http,
    "websocket": _call_websocket,
    "tcp": _call_tcp,
    "greet": _call_tcp,
    "raw": _call_raw,
    "h2": _call_h2,
    "grpc": _call_grpc,
}


def call(ask: dict[str, Any]) -> Any:
    """What came of it."""
    try:
        return CALLERS[ask["kind"]](ask)
    except (OSError, http.client.HTTPException, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps([call(asked) for _ in range(asked["times"])] if "times" in asked else call(asked)))
