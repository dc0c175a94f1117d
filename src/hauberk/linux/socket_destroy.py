"""Ending TCP connections of a network namespace from outside of the programs that hold them (sock_diag, SOCK_DESTROY).

Both ends learn of it at once: the holder's next call fails with ECONNABORTED, the peer gets a reset. All of it concerns the network
namespace of the calling thread, and needs NET_ADMIN in the user namespace that owns it; see `netns`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from hauberk.linux.failure import LinuxFailure

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_SOCK_DESTROY: Final = 21
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ASKED: Final = struct.Struct("=BBBBI")  # struct inet_diag_req_v2 before its socket id
_FOUND: Final = struct.Struct("=BBBB")  # struct inet_diag_msg before its socket id
_ID: Final = struct.Struct("!HH16s16s12s")  # struct inet_diag_sockid: ports and addresses; interface and cookie stay as they came
_CODE: Final = struct.Struct("=i")
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
# Every state of tcp_states.h in which there is a peer: all but TIME_WAIT (6), CLOSE (7) and LISTEN (10).
_STATES: Final = sum(1 << state for state in (1, 2, 3, 4, 5, 8, 9, 11, 12))
_ANY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = bytes(4) + b"\xff" * 8
_BUFFER: Final = 1 << 18
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.EINVAL)
_HINT: Final = "use a kernel with CONFIG_INET_DIAG_DESTROY (most distributions' have it), or `modprobe -a inet_diag tcp_diag`"


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection as its namespace sees it; addresses in their shortest form, IPv4 also where an IPv6 socket carries it."""

    local: str
    local_port: int
    remote: str
    remote_port: int


def destroy_connections(condemned: Callable[[Connection], bool]) -> int:
    """How many connections of this namespace were ended: those of which `condemned` says so.

    LinuxFailure if the kernel cannot do it.
    """
    with _diagnosis() as diagnosis:
        found = [
            (family, identity) for family in _FAMILIES for identity in _dump(diagnosis, family) if condemned(_connection(family, identity))
        ]
        return sum(_destroy(diagnosis, family, identity) for family, identity in found)


def can_destroy() -> bool:
    """Whether this kernel ends connections on request."""
    nobody = _ID.pack(1, 1, bytes(16), bytes(16), _NO_COOKIE)
    try:
        with _diagnosis() as diagnosis:
            _destroy(diagnosis, socket.AF_INET, nobody)
    except (LinuxFailure, OSError):
        return False
    return True


def _diagnosis() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return made


def _dump(diagnosis: socket.socket, family: int) -> Iterator[bytes]:
    """The ids of the family's connections, as the kernel writes them."""
    _send(diagnosis, _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, family, bytes(_ID.size))
    while True:
        for kind, body in _messages(diagnosis):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _refuse(-_CODE.unpack_from(body)[0])
            yield body[_FOUND.size : _FOUND.size + _ID.size]


def _destroy(diagnosis: socket.socket, family: int, identity: bytes) -> int:
    """1 if the connection was ended, 0 if it had ended by itself."""
    _send(diagnosis, _SOCK_DESTROY, _REQUEST | _ACK, family, identity)
    for kind, body in _messages(diagnosis):
        code = -_CODE.unpack_from(body)[0] if kind == _ERROR else 0
        if code and code != errno.ENOENT:
            _refuse(code)
        return int(code == 0)
    return 0


def _send(diagnosis: socket.socket, kind: int, flags: int, family: int, identity: bytes) -> None:
    states = _STATES if kind == _SOCK_DIAG_BY_FAMILY else _ANY_STATE
    body = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, states) + identity
    diagnosis.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)


def _messages(diagnosis: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message of the next packet."""
    packet = diagnosis.recv(_BUFFER)
    while len(packet) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(packet)
        yield kind, packet[_HEADER.size : length]
        packet = packet[(length + 3) & ~3 :]


def _connection(family: int, identity: bytes) -> Connection:
    local_port, remote_port, local, remote, _ = _ID.unpack(identity)
    return Connection(_address(family, local), local_port, _address(family, remote), remote_port)


def _address(family: int, packed: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(family, packed[:4])
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _refuse(code: int) -> None:
    hint = _HINT if code in _UNSUPPORTED else ""
    raise LinuxFailure(f"connections cannot be ended from outside: {os.strerror(code)}", hint, code)
