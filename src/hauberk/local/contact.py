"""Talking to a running init from the command line: how is the mesh, end it, which process is it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hauberk.linux.failure import LauncherGone, decode_failure
from hauberk.linux.packet import PacketMalformed, close_all, receive_packet, send_packet

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """One of the mesh's own processes."""

    running: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFacts:
    """How a running mesh was started and how its parts are."""

    version: str
    rootless: bool
    foreground: bool
    started_at: float  # seconds since the epoch
    stopping: bool
    parts: dict[str, PartFacts]


def ask(path: Path, timeout: float = 5.0) -> MeshFacts:
    """What init at `path` says of its mesh; LauncherGone if nothing answers."""
    document = _request(path, {"op": "info"}, timeout)
    parts = {name: PartFacts(running=part["pid"] is not None, restarts=part["restarts"]) for name, part in document["parts"].items()}
    return MeshFacts(
        version=document["version"],
        rootless=document["rootless"],
        foreground=document["foreground"],
        started_at=document["startedAt"],
        stopping=document["stopping"],
        parts=parts,
    )


def ask_to_stop(path: Path, seconds: float, timeout: float = 5.0) -> None:
    """Init at `path` is ending the mesh and will have within `seconds`; asked a second time, it ends at once."""
    _request(path, {"op": "stop", "timeout": seconds}, timeout)


def _request(path: Path, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
            send_packet(sock, request | {"id": 1})
            packet = receive_packet(sock)
        except (OSError, PacketMalformed) as error:
            raise _gone(path) from error
    if packet is None:
        raise _gone(path)
    document, descriptors = packet
    close_all(descriptors)
    if "failure" in document:
        raise decode_failure(document["failure"])
    return document


def _gone(path: Path) -> LauncherGone:
    return LauncherGone(f"nothing answers at {path}", "start the mesh: `hauberk up`")
