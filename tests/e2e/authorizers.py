"""External authorizers for the rig's pods: Envoy's gRPC protocol over HTTP/2, and plain HTTP. The request's path says how they behave."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import code_pb2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

CheckRequest, CheckResponse = external_auth_pb2.CheckRequest, external_auth_pb2.CheckResponse
Headers = dict[str, str]

# Said by the path of the request that is asked about.
DENY, SLOW, GARBAGE, CLOSE, ERROR, UNMEANT = "/deny", "/slow", "/garbage", "/close", "/error", "/unmeant"
PATIENCE = 30.0  # seconds after which a slow one answers after all, unless it is told to stop


@dataclass
class GrpcAuthorizer:
    """Allows what it is not told to deny; `asked` is everything that it was asked."""

    asked: list[external_auth_pb2.CheckRequest] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [each.attributes.request.http.path for each in self.asked]

    def __call__(self, connection: socket.socket) -> None:
        state = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        bodies: dict[int, bytes] = {}
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                match event:
                    case RequestReceived():
                        bodies[event.stream_id] = b""
                    case DataReceived():
                        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        bodies[event.stream_id] += event.data or b""
                    case StreamEnded():
                        self._answer(connection, state, event.stream_id, CheckRequest.FromString(bodies.pop(event.stream_id)[5:]))
                    case _:
                        pass
            connection.sendall(state.data_to_send())

    def _answer(self, connection: socket.socket, state: H2Connection, stream: int, request: external_auth_pb2.CheckRequest) -> None:
        self.asked.append(request)
        path = request.attributes.request.http.path
        if path.startswith(SLOW):
            self.ended.wait(PATIENCE)
        if path.startswith(CLOSE):
            connection.shutdown(socket.SHUT_RDWR)
            raise OSError("closed as asked")
        state.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        if path.startswith(ERROR):
            state.send_headers(stream, [("grpc-status", "13"), ("grpc-message", "broken")], end_stream=True)
            return
        body = b"\xff\xff\xff\xff" if path.startswith(GARBAGE) else _decide(path, request).SerializeToString()
        state.send_data(stream, b"\0" + len(body).to_bytes(4, "big") + body)
        state.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def _decide(path: str, request: external_auth_pb2.CheckRequest) -> external_auth_pb2.CheckResponse:
    response = CheckResponse()
    if path.startswith(DENY):
        response.status.code = code_pb2.PERMISSION_DENIED
        response.denied_response.status.code = http_status_pb2.StatusCode.PaymentRequired
        response.denied_response.headers.append(_header("x-why", "because"))
        response.denied_response.body = "not today"
        return response
    if path.startswith(UNMEANT):
        # A header that cannot be sent, beside a yes.
        response.ok_response.headers.append(_header("x-bad", "a\r\nx-forged: b"))
        return response
    response.ok_response.headers.append(_header("x-user", request.attributes.source.principal.rpartition("/")[2] or "nobody"))
    response.ok_response.headers_to_remove.append("x-secret")
    response.ok_response.response_headers_to_add.append(_header("x-checked", "yes"))
    return response


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    overwrite = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    return base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value), append_action=overwrite)


@dataclass
class HttpAuthorizer:
    """Allows what it is not told to deny; `asked` is the request line, the headers and the body of everything that it was asked."""

    prefix: str = ""
    asked: list[tuple[str, Headers, bytes]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [line.split(" ")[1] for line, _, _ in self.asked]

    def __call__(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while line := file.readline().decode().strip():
            headers: Headers = {}
            while each := file.readline().decode().strip():
                name, _, value = each.partition(":")
                headers[name.lower()] = f"{headers[name.lower()]},{value.strip()}" if name.lower() in headers else value.strip()
            body = file.read(int(headers.get("content-length", 0)))
            self.asked.append((line, headers, body))
            path = line.split(" ")[1].removeprefix(self.prefix)
            if path.startswith(CLOSE):
                return
            if path.startswith(SLOW):
                self.ended.wait(PATIENCE)
            connection.sendall(_said(path, headers))


def _said(path: str, headers: Headers) -> bytes:
    if path.startswith(GARBAGE):
        return b"\x16\x03\x01 this is no HTTP\r\n\r\n"
    if path.startswith(ERROR):
        return _http(500, "broken")
    if path.startswith(DENY):
        return _http(401, "not today", **{"x-why": "because", "x-inner": "hidden", "www-authenticate": "Custom"})
    return _http(200, json.dumps(headers), **{"x-user": "jo", "x-inner": "hidden", "x-checked": "yes"})


def _http(status: int, body: str, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", body]).encode()


Authorizer = Callable[[socket.socket], None]
