"""A program outside of the mesh that calls one of its sidecars with a certificate it is given; runs inside a pod.

Given on standard input as JSON: host, port, pem (chain and key). Prints the status of the answer, or why there was none.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hauberk.testing.namespace import MeshNamespace


def call(mesh: MeshNamespace, pod: str, address: str, port: int, pem: bytes) -> str:
    """What a program in the unmeshed `pod` gets from the sidecar at `address` with this certificate: a status, or `refused: …`."""
    question = json.dumps({"host": address, "port": port, "pem": pem.decode()}).encode()
    return mesh.exec(pod, sys.executable, str(Path(__file__).resolve()), stdin=question).check().stdout.strip()


def main() -> None:
    """One call."""
    asked = json.load(sys.stdin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["hauberk-http", "http/1.1"])
    descriptor = os.memfd_create("pem")
    os.write(descriptor, asked["pem"].encode())
    context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    try:
        with socket.create_connection((asked["host"], asked["port"]), timeout=10) as plain, context.wrap_socket(plain) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            # With TLS 1.3 a refusal comes after the handshake, instead of an answer.
            head = line.recv(100)
        print(head.split(b" ")[1].decode() if head.startswith(b"HTTP/1.1 ") else "refused: no answer")
    except OSError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    main()
