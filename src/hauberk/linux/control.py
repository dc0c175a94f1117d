"""Watching and signalling processes without races, and what /proc says of them."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path
from typing import Final

from hauberk.linux import syscall

_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
# The system calls have the same numbers on every architecture; older C libraries have no functions for them.
_SYS_PIDFD_SEND_SIGNAL: Final = 424
_SYS_PIDFD_OPEN: Final = 434
LAST_SIGNAL: Final = 64


def open_process(pid: int) -> int:
    """A descriptor that stands for the process `pid` for good, and becomes readable when it has ended."""
    return syscall.call("syscall", ctypes.c_long(_SYS_PIDFD_OPEN), ctypes.c_int(pid), ctypes.c_uint(0), what=f"open process {pid}")


def send_signal(pidfd: int, number: int) -> None:
    """The process that `pidfd` stands for was sent the signal; never another one that got its number since."""
    syscall.call(
        "syscall",
        ctypes.c_long(_SYS_PIDFD_SEND_SIGNAL),
        ctypes.c_int(pidfd),
        ctypes.c_int(number),
        None,
        ctypes.c_uint(0),
        what=f"send signal {number}",
    )


def adopt_orphans(*, adopt: bool = True) -> None:
    """Descendants whose parent has ended become children of the calling process instead of the machine's init."""
    zero = syscall.unsigned(0)
    syscall.call("prctl", _PR_SET_CHILD_SUBREAPER, syscall.unsigned(int(adopt)), zero, zero, zero, what="adopt orphans")


def forbid_inspection() -> None:
    """Nobody without privilege over the caller's user namespace can trace it or see its descriptors, until it runs another program."""
    zero = syscall.unsigned(0)
    syscall.call("prctl", _PR_SET_DUMPABLE, zero, zero, zero, zero, what="forbid inspection")


def default_signals() -> None:
    """Every signal does what the kernel does by default, and none is blocked: what a new program may expect."""
    signal.set_wakeup_fd(-1)
    for number in range(1, LAST_SIGNAL + 1):
        # SIGKILL and SIGSTOP cannot be changed, and two numbers belong to the C library.
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def private_memory(pid: int) -> int:
    """Bytes of anonymous memory that the process `pid` holds resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
