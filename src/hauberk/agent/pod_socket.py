"""Connections to a pod's programs, made from inside the pod's network namespace: nothing of the mesh is in their way."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from hauberk.linux.netns import in_network_async

_LOOPBACK: Final = ("127.0.0.1", "::1")


async def dial(network: int, addresses: Sequence[str], port: int) -> socket.socket:
    """A connected, non-blocking socket to whatever listens on `port`, on the pod's addresses or its loopback; raises OSError."""
    candidates = (*addresses, *_LOOPBACK)
    return await _first_connected(await _sockets(network, candidates), candidates, port)


async def dial_host(network: int, host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket to exactly that address; raises OSError."""
    return await _first_connected(await _sockets(network, (host,)), (host,), port)


async def _sockets(network: int, addresses: Sequence[str]) -> list[socket.socket]:
    def create() -> list[socket.socket]:
        return [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for address in addresses]

    return await in_network_async(network, create)


async def _first_connected(sockets: list[socket.socket], addresses: Sequence[str], port: int) -> socket.socket:
    failure: OSError = ConnectionRefusedError(f"nothing listens on port {port}")
    chosen: socket.socket | None = None
    try:
        for candidate, address in zip(sockets, addresses, strict=True):
            candidate.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(candidate, (address, port))
            except OSError as exc:
                failure = exc
            else:
                chosen = candidate
                return chosen
        raise failure
    finally:
        for candidate in sockets:
            if candidate is not chosen:
                candidate.close()
