"""Making network namespaces that nothing but descriptors and processes keeps alive."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

from hauberk.linux import namespaces
from hauberk.linux.failure import LinuxFailure
from hauberk.linux.syscall import SystemCallFailed

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
_REQUEST: Final = "16sH22x"  # struct ifreq: name and flags
_FIRST_PORT: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def create_network() -> int:
    """A descriptor of a new network namespace: loopback up, ports below 1024 free for every user.

    Made in a child, because a process without privileges on the machine could not return from it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        child = os.fork()
        if child == 0:
            os._exit(_create(theirs))
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        _, status = os.waitpid(child, 0)
    if descriptors:
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]
    code = abs(os.waitstatus_to_exitcode(status))
    raise LinuxFailure(f"cannot create a network namespace: {os.strerror(code)}", "`hauberk check` says what this machine forbids", code)


def _create(theirs: socket.socket) -> int:
    """Exit code of the child: 0, or an errno."""
    try:
        namespaces.unshare(namespaces.NEWNET)
        _raise_loopback()
        _free_low_ports()
        own = namespaces.open_own("net")
        socket.send_fds(theirs, [b"1"], [own])
    except SystemCallFailed as error:
        return error.code
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack(_REQUEST, b"lo", 0)
        _, flags = struct.unpack(_REQUEST, fcntl.ioctl(sock, _SIOCGIFFLAGS, request))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack(_REQUEST, b"lo", flags | _IFF_UP))


def _free_low_ports() -> None:
    # The program holds no capability, and the namespace is its own: port 80 there is as good as 8080.
    if _FIRST_PORT.exists():
        _FIRST_PORT.write_text("0")
