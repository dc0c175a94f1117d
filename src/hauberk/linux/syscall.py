"""The C library, and its failures as exceptions."""

from __future__ import annotations

import ctypes
import errno
import os

from hauberk.linux.failure import LinuxFailure

_LIBC = ctypes.CDLL(None, use_errno=True)

_HINTS = {
    errno.EPERM: "this needs root, or user namespaces for everybody (`hauberk check` says which setting forbids them)",
    errno.ENOSYS: "the kernel is too old: Hauberk needs Linux 5.12 or newer",
    errno.ENOSPC: "a limit on namespaces is reached: raise user.max_*_namespaces with sysctl",
    errno.EMFILE: "too many open files: raise the limit with `ulimit -n`",
    errno.ENFILE: "the machine has too many open files: raise fs.file-max with sysctl",
    errno.ENOMEM: "the machine or the control group is out of memory",
}


class SystemCallFailed(LinuxFailure):
    """A system call failed; `call` names it and what it was for, `code` is the errno."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: {os.strerror(code)}", _HINTS.get(code, ""), code)
        self.call = call


def call(function: str, *arguments: object, what: str = "") -> int:
    """The result of the C function `function`; SystemCallFailed with `what` (or its name) if it is negative."""
    result: int = _LIBC[function](*arguments)
    if result < 0:
        raise SystemCallFailed(what or function, ctypes.get_errno())
    return result


def unsigned(value: int) -> ctypes.c_ulong:
    """A C `unsigned long`, for flags that ctypes would pass as a signed int."""
    return ctypes.c_ulong(value)
