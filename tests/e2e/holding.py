"""Many connections of bytes, held by a program inside a pod.

`python holding.py NUMBER ADDRESS…`: so many to each `host:port`, whose other side answers each line in capitals, or WebSockets to each
`host:port/path`, whose other side so answers each message. `held` is printed when
all of them are good. On `count` each is used once more, and what is printed is one JSON document behind that word: how many were good, by
address. With `watching` in front of the number it reads nothing, and prints `ended` for each connection that ends by itself.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import sys
from dataclasses import dataclass

PATIENCE = 5.0  # seconds for one use
UPGRADE = "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@dataclass(frozen=True)
class Line:
    """A connection, and what is said and heard on it."""

    socket: socket.socket
    said: bytes = b"hello\n"
    heard: bytes = b"HELLO\n"

    def is_good(self) -> bool:
        try:
            self.socket.sendall(self.said)
            return heard_until(self.socket, self.heard)
        except OSError:
            return False


def heard_until(connection: socket.socket, end: bytes) -> bool:
    heard = b""
    while not heard.endswith(end):
        piece = connection.recv(100)
        if not piece:
            return False
        heard += piece
    return True


def connect(address: str) -> Line:
    place, slash, path = address.partition("/")
    host, _, port = place.rpartition(":")
    made = socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)
    if not slash:
        return Line(made)
    made.sendall(f"GET /{path} HTTP/1.1\r\nhost: {place}\r\n{UPGRADE}\r\n".encode())
    heard_until(made, b"\r\n\r\n")
    return Line(made, b"\x81\x85\0\0\0\0hello", b"\x81\x05HELLO")


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(number: int, *addresses: str, watching: bool) -> None:
    lines = {address: [connect(address) for _ in range(number)] for address in addresses}
    bad = [address for address, held in lines.items() if not all(map(Line.is_good, held))]
    say("held" if not bad else f"not held: {bad}")
    if watching:
        watch([line.socket for held in lines.values() for line in held])
    for word in sys.stdin:
        if word.strip() == "count":
            say("count", json.dumps({address: sum(map(Line.is_good, held)) for address, held in lines.items()}))


def watch(lines: list[socket.socket]) -> None:
    """Until all of them have ended."""
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                selector.unregister(key.fileobj)
                say("ended")
    signal.pause()


if __name__ == "__main__":
    words = sys.argv[1:]
    watching = words[0] == "watching"
    main(int(words[watching]), *words[1 + watching :], watching=watching)
