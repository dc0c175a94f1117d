"""Run inside the node's network namespace: opens a packet socket there and hands it over stdin, which is a Unix socket.

A process of its own, because in rootless mode the demo itself may not enter the mesh's namespaces; the mesh's init may.
"""

from __future__ import annotations

import socket

_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL, of linux/if_ether.h
_ROOM = 16 * 1024 * 1024  # bytes the kernel may hold for us until we read


def main() -> None:
    """Hand over a socket that sees every frame of every interface of this namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)) as capture:
        capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        with socket.socket(fileno=0) as line:
            socket.send_fds(line, [b"capture"], [capture.fileno()])


if __name__ == "__main__":
    main()
