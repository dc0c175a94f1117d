"""Mounting, by system call."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hauberk.linux import syscall

NOSUID: Final = 0x2
NODEV: Final = 0x4
NOEXEC: Final = 0x8
_RDONLY: Final = 0x1
_BIND: Final = 0x1000
_REC: Final = 0x4000
_PRIVATE: Final = 0x40000
_SLAVE: Final = 0x80000
_MNT_DETACH: Final = 0x2

_SYS_MOUNT_SETATTR: Final = 442  # the same on every architecture: it is younger than the common numbering
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_ATTR_RDONLY: Final = 0x1


class _Attributes(ctypes.Structure):
    _fields_ = (("set", ctypes.c_uint64), ("clear", ctypes.c_uint64), ("propagation", ctypes.c_uint64), ("userns", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: what of which file system is seen where."""

    device: str
    root: str
    point: str
    kind: str


def mount(kind: str, target: str, flags: int = 0, options: str = "") -> None:
    """A new file system of `kind` lies over `target`."""
    syscall.call(
        "mount",
        kind.encode(),
        os.fsencode(target),
        kind.encode(),
        syscall.unsigned(flags),
        options.encode(),
        what=f"mount {kind} on {target}",
    )


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """What is at `source` is seen at `target` too."""
    flags = _BIND | (_REC if recursive else 0)
    syscall.call("mount", os.fsencode(source), os.fsencode(target), None, syscall.unsigned(flags), None, what=f"bind {source} to {target}")


def make_private() -> None:
    """Nothing mounted elsewhere appears in this mount namespace, nor the other way round."""
    syscall.call("mount", None, b"/", None, syscall.unsigned(_REC | _PRIVATE), None, what="make all mounts private")


def make_slave() -> None:
    """What the machine mounts later appears here, but not the other way round."""
    syscall.call("mount", None, b"/", None, syscall.unsigned(_REC | _SLAVE), None, what="separate the mounts from the machine's")


def unmount(target: str) -> None:
    """The topmost mount at `target` is gone from this namespace, even if it is in use."""
    syscall.call("umount2", os.fsencode(target), _MNT_DETACH, what=f"unmount {target}")


def set_read_only(target: str, *, recursive: bool = False) -> None:
    """Nothing can be written through the mount at `target` (or any mount below it)."""
    _set_attributes(target, _Attributes(set=_ATTR_RDONLY), recursive=recursive)


def set_writable(target: str) -> None:
    """The mount at `target` can be written again, and those below it unless the machine's owner made one of them read-only."""
    try:
        _set_attributes(target, _Attributes(clear=_ATTR_RDONLY), recursive=True)
    except syscall.SystemCallFailed as error:
        if error.code != errno.EPERM:
            raise
        _set_attributes(target, _Attributes(clear=_ATTR_RDONLY), recursive=False)


def is_read_only(path: str) -> bool:
    """Whether the mount that holds `path` refuses writing."""
    return bool(os.statvfs(path).f_flag & _RDONLY)


def mounts() -> tuple[Mount, ...]:
    """Every mount of the caller's mount namespace, in mounting order."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        found.append(Mount(fields[2], _unescape(fields[3]), _unescape(fields[4]), fields[fields.index("-") + 1]))
    return tuple(found)


def aliases(path: str, table: tuple[Mount, ...]) -> tuple[str, ...]:
    """`path` under all names it has in this mount namespace: a disk may be mounted, or a directory bound, in several places."""
    holding = [(len(entry.point), number) for number, entry in enumerate(table) if _below(path, entry.point)]
    if not holding:
        return (path,)
    home = table[max(holding)[1]]  # the nearest, and of several at one place the one on top
    inside = _join(home.root, path[len(home.point.rstrip("/")) :])
    others = (
        _join(entry.point, inside[len(entry.root.rstrip("/")) :])
        for entry in table
        if entry.device == home.device and _below(inside, entry.root)
    )
    return tuple(dict.fromkeys((path, *others)))


def _set_attributes(target: str, attributes: _Attributes, *, recursive: bool) -> None:
    syscall.call(
        "syscall",
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
        what=f"change whether {target} can be written",
    )


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _join(directory: str, rest: str) -> str:
    return (directory.rstrip("/") + "/" + rest.lstrip("/")).rstrip("/") or "/"


def _unescape(text: str) -> str:
    # The kernel writes blank, tab, newline and backslash as three octal digits.
    head, *tail = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in tail)
