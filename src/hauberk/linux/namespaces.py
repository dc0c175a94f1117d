"""Creating and entering namespaces."""

from __future__ import annotations

import os
from typing import Final

from hauberk.linux import syscall

NEWNS: Final = 0x00020000
NEWCGROUP: Final = 0x02000000
NEWUTS: Final = 0x04000000
NEWIPC: Final = 0x08000000
NEWUSER: Final = 0x10000000
NEWPID: Final = 0x20000000
NEWNET: Final = 0x40000000

_NAMES = {
    NEWNS: "mount",
    NEWCGROUP: "cgroup",
    NEWUTS: "UTS",
    NEWIPC: "IPC",
    NEWUSER: "user",
    NEWPID: "PID",
    NEWNET: "network",
}


def unshare(flags: int) -> None:
    """The calling thread has new namespaces of the kinds in `flags` (PID: its next child is the first in it)."""
    syscall.call("unshare", flags, what=f"create a {describe(flags)} namespace")


def enter(descriptor: int, flags: int) -> None:
    """The calling thread is in the namespaces that `descriptor` (of one namespace, or a pidfd for several) stands for."""
    syscall.call("setns", descriptor, flags, what=f"enter the {describe(flags)} namespace")


def open_own(kind: str) -> int:
    """A descriptor of the calling thread's own namespace: `net`, `pid`, `mnt`, …"""
    return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def set_hostname(name: str) -> None:
    """The UTS namespace of the caller has that host name."""
    encoded = os.fsencode(name)
    syscall.call("sethostname", encoded, len(encoded), what=f"set the host name to {name!r}")


def describe(flags: int) -> str:
    """The kinds in `flags`, for people."""
    return ", ".join(name for flag, name in _NAMES.items() if flags & flag)
