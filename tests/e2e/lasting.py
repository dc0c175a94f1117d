"""Connections that last, held by a program inside a pod: one of bytes, one gRPC stream, one HTTP connection that is kept open.

`python lasting.py HOST HTTP-PORT GRPC-PORT TCP-PORT`. On `keep` each is used once more, on `fresh` each is made anew and used; what came of
it is printed as one JSON document after that word. When a stream or the connection of bytes ends by itself, `ended KIND` is printed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import sys
import threading
from collections.abc import Iterator

import grpc

PATIENCE = 3.0  # seconds for one use


def say(*words: str) -> None:
    # One write, or lines of several threads would get mixed up.
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Bytes:
    """A connection of bytes whose other side answers each line in capitals."""

    def __init__(self, host: str, port: int) -> None:
        self._heard: queue.Queue[str] = queue.Queue()
        self._closed = False
        self._line = socket.create_connection((host, port), timeout=PATIENCE)
        self._line.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            for line in self._line.makefile("r"):
                self._heard.put(line.strip())
        self._heard.put("")
        if not self._closed:
            say("ended", "tcp")

    def use(self) -> bool:
        self._line.sendall(b"hello\n")
        return self._heard.get(timeout=PATIENCE) == "HELLO"

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)


class Stream:
    """A gRPC stream that goes both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._said: queue.Queue[bytes] = queue.Queue()
        self._heard: queue.Queue[bytes] = queue.Queue()
        self._closed = False
        self._channel = grpc.insecure_channel(f"{host}:{port}")
        talk: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream("/test.Echo/Chat")
        self._call = talk(self._words())
        threading.Thread(target=self._listen, daemon=True).start()

    def _words(self) -> Iterator[bytes]:
        while True:
            yield self._said.get()

    def _listen(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for word in self._call:
                self._heard.put(word)
        self._heard.put(b"")
        if not self._closed:
            say("ended", "grpc")

    def use(self) -> bool:
        self._said.put(b"hello")
        return self._heard.get(timeout=PATIENCE) == b"HELLO"

    def close(self) -> None:
        self._closed = True
        self._channel.close()


class Requests:
    """An HTTP connection that is kept open as long as the other side does."""

    def __init__(self, host: str, port: int) -> None:
        self._line = http.client.HTTPConnection(host, port, timeout=PATIENCE)

    def use(self) -> bool:
        self._line.request("GET", "/")
        answer = self._line.getresponse()
        answer.read()
        return answer.status == 200

    def close(self) -> None:
        self._line.close()


def used(each: Bytes | Stream | Requests | None) -> bool:
    if each is None:
        return False
    try:
        return each.use()
    except (OSError, queue.Empty, http.client.HTTPException):
        return False


def made(kind: type[Bytes | Stream | Requests], host: str, port: int) -> Bytes | Stream | Requests | None:
    try:
        return kind(host, port)
    except OSError:
        return None


def main(host: str, *ports: str) -> None:
    kinds: dict[str, type[Bytes | Stream | Requests]] = {"http": Requests, "grpc": Stream, "tcp": Bytes}
    places = dict(zip(kinds, map(int, ports), strict=True))
    held: dict[str, Bytes | Stream | Requests | None] = {}
    say("listening")
    for line in sys.stdin:
        if line.strip() == "fresh":
            for each in held.values():
                if each is not None:
                    each.close()
            held = {name: made(kind, host, places[name]) for name, kind in kinds.items()}
        say(line.strip(), json.dumps({name: used(each) for name, each in held.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
