"""A program outside of the mesh that holds a certificate of it, and calls a pod by its address, over TLS of its own.

`python outsider.py ADDRESS PORT`. The first line it reads is a JSON document with the PEM texts `key` and `chain`. Then, on `keep`, it
makes a request on the connection that it has; on `fresh` on a new one, for which it offers the last one's session. What came of it is
printed as one JSON document after that word.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import tempfile
from typing import Any

PATIENCE = 5.0


class Caller:
    """One connection at a time."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext) -> None:
        self._place = (address, port)
        self._context = context
        self._line: ssl.SSLSocket | None = None
        self._session: ssl.SSLSession | None = None

    def connect(self) -> None:
        if self._line is not None:
            self._session = self._line.session or self._session
            self._line.close()
        plain = socket.create_connection(self._place, timeout=PATIENCE)
        self._line = self._context.wrap_socket(plain, session=self._session)

    def request(self) -> dict[str, Any]:
        assert self._line is not None
        self._line.sendall(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (part := self._line.recv(65536)):
                return {"error": "closed"}
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        while len(body) < length:
            body += self._line.recv(65536)
        return {"status": int(head.split()[1]), "reused": bool(self._line.session_reused), "version": self._line.version()}


def done(caller: Caller, word: str) -> dict[str, Any]:
    try:
        if word == "fresh":
            caller.connect()
        return caller.request()
    except OSError as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main(address: str, port: str) -> None:
    given = json.loads(sys.stdin.readline())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whom it calls is not what is tested.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(given["chain"] + given["key"])
        file.flush()
        context.load_cert_chain(file.name)
    caller = Caller(address, int(port), context)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{line.strip()} {json.dumps(done(caller, line.strip()))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
