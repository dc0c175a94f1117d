"""A load of every kind of connection, from inside a pod: what must not notice that a mode of mutual TLS changes.

`python asking.py HOST HTTP-PORT TCP-PORT OTHER-PORT` asks about twenty times a second in each way. It prints `asking`, and at each line it
reads one JSON document behind `found`: for each way how often it was answered since the line before, and how it failed.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable

PAUSE = 0.05
PATIENCE = 5.0  # seconds for one answer


class Way:
    """One way of asking, again and again."""

    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        self.name = name
        self._ask = ask
        self._lock = threading.Lock()
        self._answered = 0
        self._failed: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._ask()
            except (OSError, http.client.HTTPException, ValueError) as error:
                with self._lock:
                    self._failed.append(f"{type(error).__name__}: {error}")
            else:
                with self._lock:
                    self._answered += 1
            time.sleep(PAUSE)

    def look(self) -> tuple[int, list[str]]:
        with self._lock:
            found = self._answered, self._failed
            self._answered, self._failed = 0, []
        return found


def ask_http(line: http.client.HTTPConnection) -> None:
    try:
        line.request("GET", "/")
        answer = line.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        line.close()
        raise
    if answer.status != 200:
        raise ValueError(str(answer.status))


def ask_http_anew(host: str, port: int) -> None:
    line = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        ask_http(line)
    finally:
        line.close()


def ask_bytes(line: socket.socket) -> None:
    line.sendall(b"hello\n")
    if line.recv(100) != b"HELLO\n":
        raise ValueError("it was closed")


def ask_bytes_anew(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=PATIENCE) as line:
        ask_bytes(line)


def main(host: str, http_port: int, tcp_port: int, other_port: int) -> None:
    kept = http.client.HTTPConnection(host, http_port, timeout=PATIENCE)
    ways = [
        Way("http-kept", lambda: ask_http(kept)),
        Way("http", lambda: ask_http_anew(host, http_port)),
        Way("tcp", lambda: ask_bytes_anew(host, tcp_port)),
        Way("other", lambda: ask_bytes_anew(host, other_port)),
    ]
    print("asking", flush=True)
    for _ in sys.stdin:
        print("found", json.dumps({way.name: way.look() for way in ways}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
