"""One grpc.health.v1.Health/Check over HTTP/2 in the clear: what a gRPC probe asks."""

import asyncio
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import h2.exceptions

_PATH = "/grpc.health.v1.Health/Check"
_SERVING = 1
_PREFIX = 5  # bytes before each gRPC message: compressed flag, length
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class HealthUnknown(Exception):
    """The server does not speak gRPC, or its answer is none."""


async def check_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str) -> str | None:
    """None if the server says SERVING, else what it said; raises HealthUnknown or OSError."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "http"), (":path", _PATH), (":authority", authority)]
    connection.send_headers(1, [*headers, ("content-type", "application/grpc"), ("te", "trailers")])
    connection.send_data(1, encode_request(service), end_stream=True)
    body, fields = bytearray(), dict[str, str]()
    try:
        async for event in _events(connection, reader, writer):
            if isinstance(event, h2.events.DataReceived):
                body += event.data or b""
            elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                fields |= {str(name): str(value) for name, value in event.headers or ()}
            elif isinstance(event, h2.events.StreamEnded):
                return read_answer(fields, bytes(body))
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                break
    except h2.exceptions.ProtocolError as exc:
        raise HealthUnknown(f"it does not speak HTTP/2: {exc}") from exc
    raise HealthUnknown("the connection ended without an answer")


async def _events(
    connection: h2.connection.H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[h2.events.Event]:
    while True:
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(65536)
        if not data:
            return
        for event in connection.receive_data(data):
            yield event


def encode_request(service: str) -> bytes:
    """HealthCheckRequest{service = 1} with its gRPC prefix."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def read_answer(fields: dict[str, str], body: bytes) -> str | None:
    """None for SERVING, else a sentence."""
    if (status := fields.get("grpc-status", "0")) != "0":
        return f"gRPC status {status} {fields.get('grpc-message', '')}".rstrip()
    if fields.get(":status") != "200" or len(body) < _PREFIX:
        raise HealthUnknown(f"HTTP status {fields.get(':status')} is no gRPC answer")
    # HealthCheckResponse{status = 1}: absent means 0.
    message = body[_PREFIX:]
    state = message[1] if message[:1] == b"\x08" and len(message) > 1 else 0
    return None if state == _SERVING else _STATES.get(state, str(state))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
