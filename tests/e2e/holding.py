"""Many connections of bytes, held by a program inside a pod.

`python holding.py NUMBER ADDRESS…`: so many to each `host:port`, whose other side answers each line in capitals. `held` is printed when
all of them are good. On `count` each is used once more, and what is printed is one JSON document behind that word: how many were good, by
address. With `watching` in front of the number it reads nothing, and prints `ended` for each connection that ends by itself.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import sys

PATIENCE = 5.0  # seconds for one use


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)


def is_good(line: socket.socket) -> bool:
    try:
        line.sendall(b"hello\n")
        heard = b""
        while not heard.endswith(b"HELLO\n"):
            piece = line.recv(100)
            if not piece:
                return False
            heard += piece
    except OSError:
        return False
    return True


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(number: int, *addresses: str, watching: bool) -> None:
    lines = {address: [connect(address) for _ in range(number)] for address in addresses}
    bad = [address for address, held in lines.items() if not all(map(is_good, held))]
    say("held" if not bad else f"not held: {bad}")
    if watching:
        watch([line for held in lines.values() for line in held])
    for word in sys.stdin:
        if word.strip() == "count":
            say("count", json.dumps({address: sum(map(is_good, held)) for address, held in lines.items()}))


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
