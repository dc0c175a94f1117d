"""Serving on a Unix socket to one user alone: the kernel says who is at the other end of each connection."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

BACKLOG: Final = 256
PEER: Final = "uid"  # the host of the client's address in a request: its port is the user at the other end
PATIENCE_SECONDS: Final = 1.0  # for a user who is turned away to read the answer and hang up
_UCRED: Final = struct.Struct("iII")  # pid, uid, gid as struct ucred of unix(7)


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, as it was when the connection was made."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def machine_uid(uid: int) -> int:
    """The user as the machine counts, of one as this process's user namespace counts."""
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        inside, outside, length = map(int, line.split())
        if inside <= uid < inside + length:
            return outside + uid - inside
    return uid


def allowed_users() -> frozenset[int]:
    """The user of this process, and root.

    Inside a user namespace both are 0, and everybody else appears as the overflow user, which is never let in.
    """
    return frozenset({0, os.geteuid()})


def listen(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket that only this user can connect to, in the place of one that a killed process left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def protocol_for(allowed: Collection[int], refusal: bytes) -> type[H11Protocol]:
    """A protocol of uvicorn's that answers only to these users; others get `refusal`, a JSON document, with status 403, and nothing
    that they send is looked at."""
    head = f"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(refusal)}\r\n\r\n"
    answer = head.encode() + refusal

    class PeerCheckedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            connection: Any = transport.get_extra_info("socket")
            uid = peer_uid(connection)
            self._refused = uid not in allowed
            super().connection_made(transport)
            # There is no address that would say who calls, but the kernel knows.
            self.client = (PEER, machine_uid(uid))
            if self._refused:
                transport.write(answer)
                # Not at once: whoever is cut off while he still sends never reads why.
                self.loop.call_later(PATIENCE_SECONDS, transport.close)

        def data_received(self, data: bytes) -> None:
            if not self._refused:
                super().data_received(data)

    return PeerCheckedProtocol
