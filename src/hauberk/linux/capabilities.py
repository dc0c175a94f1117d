"""Capabilities: which a process keeps, and that it can never gain others."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import Final

from hauberk.linux import syscall
from hauberk.linux.failure import LinuxFailure

NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip  # the position is the kernel's number

_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_AMBIENT_RAISE: Final = 2
_AMBIENT_CLEAR_ALL: Final = 4
# uid 0 gains nothing by running a program (NOROOT), and can never change that (its lock bit beside it).
_NOROOT_LOCKED: Final = 0b11
_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


class UnknownCapability(LinuxFailure):
    """No capability has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is no capability", "use a name of capabilities(7), such as NET_BIND_SERVICE", errno.EINVAL)


def parse(names: tuple[str, ...]) -> frozenset[int]:
    """The kernel's numbers of `names`, with or without CAP_, in any case; ALL is all of them."""
    numbers: set[int] = set()
    for name in names:
        plain = name.upper().removeprefix("CAP_")
        if plain == "ALL":
            numbers.update(range(len(NAMES)))
        elif plain in NAMES:
            numbers.add(NAMES.index(plain))
        else:
            raise UnknownCapability(name)
    return frozenset(numbers)


def drop_bounding(kept: frozenset[int]) -> None:
    """No program this process will ever run can gain a capability outside `kept`."""
    for number in range(64):
        if number in kept:
            continue
        try:
            _prctl(_PR_CAPBSET_DROP, number, what=f"give up the capability {_name(number)}")
        except syscall.SystemCallFailed as error:
            if error.code == errno.EINVAL:  # past the last capability this kernel has
                return
            raise


def keep_across_setuid() -> None:
    """Changing the user id will not take the permitted capabilities away."""
    _prctl(_PR_SET_KEEPCAPS, 1, what="keep capabilities while changing the user")


def forbid_root() -> None:
    """Being uid 0 gives no capability any more."""
    _prctl(_PR_SET_SECUREBITS, _NOROOT_LOCKED, what="take the privileges of uid 0 away")


def hold(kept: frozenset[int]) -> None:
    """This process and the programs it runs hold those of `kept` that it held, and no other."""
    kept = kept & permitted()
    low, high = (sum(1 << (number - base) for number in kept if base <= number < base + 32) for base in (0, 32))
    sets = (_Sets * 2)(_Sets(low, low, low), _Sets(high, high, high))
    syscall.call("capset", ctypes.byref(_Header(_VERSION_3, 0)), sets, what="set capabilities")
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, what="clear ambient capabilities")
    for number in kept:
        _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number, what=f"pass on the capability {_name(number)}")


def permitted() -> frozenset[int]:
    """The capabilities this process may use."""
    sets = (_Sets * 2)()
    syscall.call("capget", ctypes.byref(_Header(_VERSION_3, 0)), sets, what="read capabilities")
    return _numbers(sets[0].permitted | sets[1].permitted << 32)


def effective_of(pid: int | str = "self") -> frozenset[int]:
    """The capabilities the process `pid` uses, in its own user namespace."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return _numbers(int(line.split()[1], 16))
    return frozenset()


def no_new_privileges() -> None:
    """No program this process runs gains anything by set-uid bits or file capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, what="forbid new privileges")


def _prctl(option: int, first: int, second: int = 0, *, what: str) -> None:
    syscall.call("prctl", option, *(syscall.unsigned(value) for value in (first, second, 0, 0)), what=what)


def _numbers(bits: int) -> frozenset[int]:
    return frozenset(number for number in range(64) if bits >> number & 1)


def _name(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else str(number)
