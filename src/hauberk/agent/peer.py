"""Who may speak to the agent: the kernel says which user is at the other end of a Unix socket."""

import asyncio
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

_UCRED: Final = struct.Struct("iII")  # pid, uid, gid as struct ucred of unix(7)


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end, as it was when the connection was made."""
    return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])


def is_allowed(connection: socket.socket) -> bool:
    """Whether the other end is the user the mesh runs as, or root.

    Inside the mesh's user namespace both are 0, and everybody else appears as the overflow user, who is never let in.
    """
    return peer_uid(connection) in (0, os.geteuid())


def listen(path: Path, kind: socket.SocketKind) -> socket.socket:
    """A socket that only this user can connect to, in the place of one that a killed process left."""
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, kind)
    found.bind(str(path))
    path.chmod(0o600)
    found.listen(128)
    found.setblocking(False)
    return found


class PeerCheckedProtocol(H11Protocol):
    """uvicorn's protocol, deaf to others than the mesh's user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        connection: Any = transport.get_extra_info("socket")
        self._is_allowed = is_allowed(connection)
        super().connection_made(transport)
        if not self._is_allowed:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """What strangers say is not read."""
        if self._is_allowed:
            super().data_received(data)
