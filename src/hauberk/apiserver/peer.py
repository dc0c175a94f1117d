"""Who may speak to the API: the kernel says which user is at the other end of each connection."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Collection
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from hauberk.api.problem import problem

_UCRED = struct.Struct("iII")  # pid, uid, gid as struct ucred of unix(7)

PATIENCE_SECONDS = 1.0  # for a user who is turned away to read the answer and hang up

_REFUSAL = json.dumps({"problems": [problem("HBK0506", "this mesh was started by another user").to_json()]}).encode()
_HEAD = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n"
ANSWER = _HEAD.format(len(_REFUSAL)).encode() + _REFUSAL


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, as it was when the connection was made."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def allowed_users() -> frozenset[int]:
    """The user the mesh runs as, and root.

    Inside the mesh's user namespace both are 0, and everybody else appears as the overflow user, which is never let in.
    """
    return frozenset({0, os.geteuid()})


def protocol_for(allowed: Collection[int]) -> type[H11Protocol]:
    """A protocol of uvicorn's that answers only to these users; others are told so, and nothing that they send is looked at."""

    class PeerCheckedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            connection: Any = transport.get_extra_info("socket")
            self._refused = peer_uid(connection) not in allowed
            super().connection_made(transport)
            if self._refused:
                transport.write(ANSWER)
                # Not at once: whoever is cut off while he still sends never reads why.
                self.loop.call_later(PATIENCE_SECONDS, transport.close)

        def data_received(self, data: bytes) -> None:
            if not self._refused:
                super().data_received(data)

    return PeerCheckedProtocol
