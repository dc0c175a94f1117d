"""Who is at the other end of a Unix socket, as the kernel says, held by a descriptor that stands for that process and no other.

A process number alone is no name: when its process ends, the next one may be given it. Whoever looks into /proc/PID does so while he
holds the descriptor, and asks `alive` afterwards: as long as the process lives its number is nobody else's, so what was read was its.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hauberk.linux import control
from hauberk.linux.failure import LinuxFailure

_UCRED: Final = struct.Struct("iII")  # pid, uid, gid as struct ucred of unix(7)
# Since Linux 6.5; the C library's headers and Python's socket module have no name for it yet.
SO_PEERPIDFD: Final = 77


class PeerGone(Exception):
    """The process at the other end has ended, so nothing can be said of it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The process that made a connection. `pid` as counted here, 0 if it is in no PID namespace that is seen from here.

    `uid` and `gid` are what it acted as when it connected. `pidfd` is the holder's to close.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int


def open_peer(connection: socket.socket) -> Peer:
    """Who has connected; raises PeerGone."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(credentials)
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if pid and _unknown(error):
            return Peer(pid=pid, uid=uid, gid=gid, pidfd=_open_by_number(pid))
        raise PeerGone("whoever connected has ended") from error
    # The option's descriptor is for the process itself, so its number is taken from there: SO_PEERCRED's may be another's by now.
    try:
        return Peer(pid=pid_of(pidfd), uid=uid, gid=gid, pidfd=pidfd)
    except PeerGone:
        os.close(pidfd)
        raise


def pid_of(pidfd: int) -> int:
    """The number of the process as counted here, 0 if it is not seen from here; raises PeerGone if it has ended."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pid":
            number = int(value)
            if number < 0 or not alive(pidfd):
                raise PeerGone("whoever connected has ended")
            return number
    raise PeerGone("the descriptor stands for no process")


def alive(pidfd: int) -> bool:
    """Whether the process has not ended; one that has and was not waited for yet counts as ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _unknown(error: OSError) -> bool:
    return error.errno == 92  # ENOPROTOOPT: the kernel is older than the option


def _open_by_number(pid: int) -> int:
    """For older kernels: the number may be another's already, who then began after the connection was made, which was before now."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        pidfd = control.open_process(pid)
        if started_at(pid) < now and alive(pidfd):
            return pidfd
    except (LinuxFailure, OSError, ValueError, IndexError) as error:
        raise PeerGone("whoever connected has ended") from error
    os.close(pidfd)
    raise PeerGone("whoever connected has ended")


def started_at(pid: int) -> float:
    """When the process began, in seconds since the machine did."""
    # The second field is the program's name in parentheses, which may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
