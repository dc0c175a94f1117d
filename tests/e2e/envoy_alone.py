"""One Envoy with a configuration of the test's own, asked over Unix sockets: what does Envoy itself say? Needs no rights."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset

from hauberk.envoy.binary import find_envoy

_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"
_SECONDS: Final = 20.0
HTTP_CONNECTION_MANAGER: Final = f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER: Final = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}


class LoneEnvoy:
    """Answers each request with 200 and `shown` headers, at one socket for each of its listeners."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def ask(self, listener: str, head: bytes) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of the answer to one request."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(self._directory / listener))
            connection.sendall(head)
            with connection.makefile("rb") as answer:
                status = int(answer.readline().split()[1])
                headers: dict[str, str] = {}
                while line := answer.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                return status, headers, answer.read(int(headers.get("content-length", 0))).decode()

    def ask_http2(self, listener: str, path: bytes) -> dict[str, str] | None:
        """Headers of the answer to a GET by HTTP/2; None if it was refused."""
        state = H2Connection(H2Configuration(header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False))
        state.initiate_connection()
        state.send_headers(1, [(b":method", b"GET"), (b":path", path), (b":scheme", b"http"), (b":authority", b"h")], end_stream=True)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(self._directory / listener))
            connection.sendall(state.data_to_send())
            while data := connection.recv(65536):
                for event in state.receive_data(data):
                    if isinstance(event, ResponseReceived):
                        headers = {str(name): str(value) for name, value in event.headers}
                        return headers if headers[":status"] == "200" else None
                    if isinstance(event, ConnectionTerminated | StreamReset):
                        return None
                connection.sendall(state.data_to_send())
        return None


def http_listener(
    name: str, directory: Path, shown: Mapping[str, str], options: Mapping[str, Any], filters: tuple[Any, ...] = (), route: Any = None
) -> Any:
    """A listener of HTTP at the socket `name`, with `options` of its connection manager."""
    headers = [{"header": {"key": key, "value": value}} for key, value in shown.items()]
    answer = {"match": {"prefix": ""}, "direct_response": {"status": 200}, "response_headers_to_add": headers, **(route or {})}
    manager = {
        "@type": HTTP_CONNECTION_MANAGER,
        "stat_prefix": name,
        "http_filters": [*filters, ROUTER],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        **options,
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": name, "address": {"pipe": {"path": str(directory / name)}}, "filter_chains": [chain]}


@contextmanager
def socket_directory() -> Iterator[Path]:
    """Where sockets fit: their paths are short."""
    directory = Path(tempfile.mkdtemp(prefix="lone-", dir="/dev/shm"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def lone_envoy(directory: Path, listeners: list[Any], clusters: tuple[Any, ...] = ()) -> Iterator[LoneEnvoy]:
    """An Envoy with these listeners, ready."""
    config = json.dumps({"static_resources": {"listeners": listeners, "clusters": list(clusters)}})
    command = [str(find_envoy()), "--config-yaml", config, "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    with (directory / "log").open("wb") as log:
        envoy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for listener in listeners:
            _wait(directory / listener["name"], envoy)
        yield LoneEnvoy(directory)
    finally:
        envoy.kill()
        envoy.wait()


def _wait(path: Path, envoy: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            return
        assert envoy.poll() is None, (path.parent / "log").read_text()[-3000:]
        time.sleep(0.02)
    raise AssertionError((path.parent / "log").read_text()[-3000:])
