"""Whether whoever connects to a pod's socket is one of that pod's programs.

The path alone proves little: whoever reaches the machine's files reaches all sockets. So the kernel is asked for the process, and the
process for its namespaces: the pod's network, and below one of its containers in the tree of PID namespaces, where Envoy is not.
"""

import fcntl
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hauberk.linux.peer import Peer, PeerGone, alive, open_peer

_NS_GET_PARENT: Final = 0xB702
_DEEPEST: Final = 33  # the kernel nests PID namespaces no deeper than 32

_Identity = tuple[int, int]  # device and inode: what a namespace is told by


class Refused(Exception):
    """Whoever has connected is none of the pod's programs; the message says why."""


@dataclass(frozen=True, slots=True)
class PodSpace:
    """What is the pod's own: a descriptor of its network namespace, and processes that are first in its containers."""

    network: int
    first: tuple[int, ...]


def admit(connection: socket.socket, space: PodSpace) -> Peer:
    """Who has connected, a process of the pod; its pidfd is the caller's to close. Raises Refused."""
    try:
        peer = open_peer(connection)
    except (PeerGone, OSError) as exc:
        raise Refused("whoever connected has ended") from exc
    try:
        _check(peer, space)
    except Refused:
        os.close(peer.pidfd)
        raise
    except OSError as exc:
        os.close(peer.pidfd)
        raise Refused(f"the process that connected cannot be looked into: {exc.strerror}") from exc
    return peer


def _check(peer: Peer, space: PodSpace) -> None:
    if not peer.pid:
        raise Refused("it is a process of the machine, not of the mesh")
    if _at(f"/proc/{peer.pid}/ns/net") != _of(space.network):
        raise Refused("it is in another network namespace")
    own = {identity for pid in space.first if (identity := _if_there(pid)) is not None}
    if not own & set(_ancestry(peer.pid)):
        raise Refused("it is in none of the pod's containers")
    # While it lives, its number is its own: what was read under that number was its.
    if not alive(peer.pidfd):
        raise Refused("whoever connected has ended")


def _ancestry(pid: int) -> Iterable[_Identity]:
    """The PID namespace of the process, and those above it as far as they are seen from here, without ours."""
    ours = _at("/proc/self/ns/pid")
    current = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    found: list[_Identity] = []
    try:
        while (identity := _of(current)) != ours and len(found) < _DEEPEST:
            found.append(identity)
            above = fcntl.ioctl(current, _NS_GET_PARENT)
            os.close(current)
            current = above
    finally:
        os.close(current)
    return found


def _if_there(pid: int) -> _Identity | None:
    try:
        return _at(f"/proc/{pid}/ns/pid")
    except OSError:
        return None  # it has ended meanwhile


def _at(path: str) -> _Identity:
    status = os.stat(path)  # noqa: PTH116 - a link of /proc that leads nowhere a path could
    return status.st_dev, status.st_ino


def _of(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
