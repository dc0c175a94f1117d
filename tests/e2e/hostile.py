"""A program in a pod that tries to get at its sidecar, its interception and the mesh; only the standard library, any Python 3.

`hostile.py STATE RUN PACKAGE FOREIGN_PID [joining]` prints a JSON object: each attempt with null if it was refused, or what it achieved.
With `joining`, the only attempt is to look into processes that are started in its container meanwhile.
"""
# ruff: noqa: PTH108, PTH115, PTH123, PTH208
# What a hostile program does is said in system calls

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
STATE, RUN, PACKAGE, FOREIGN_PID = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
NEWNS, NEWUSER, NEWNET, NEWPID, NEWCGROUP = 0x20000, 0x10000000, 0x40000000, 0x20000000, 0x02000000


def call(name: str, *arguments: object) -> str:
    ctypes.set_errno(0)
    if LIBC[name](*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return f"{name}{arguments} succeeded"


def fork_call(name: str, *arguments: object) -> str:
    """As `call`, in a child, so that a success does not change this process."""
    pid = os.fork()
    if pid == 0:
        try:
            call(name, *arguments)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))
    return f"{name}{arguments} succeeded"


def entries(directory: Path) -> str | None:
    found = os.listdir(directory)
    return f"{directory} shows {found}" if found else None


def write(path: str, text: str = "1") -> str:
    with open(path, "w") as file:
        file.write(text)
    return f"wrote {path}"


def create(directory: Path) -> str:
    path = directory / "hostile"
    path.write_text("x")
    path.unlink()
    return f"wrote into {directory}"


def connect(path: Path) -> str:
    for kind in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as sock:
            try:
                sock.connect(str(path))
            except OSError as error:
                if error.errno == errno.EPROTOTYPE:
                    continue
                raise
            return f"connected to {path}"
    return f"{path} is a socket of another kind"


def foreign_processes() -> str | None:
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid())]
    return f"sees processes {others}" if others else None


def netlink(protocol: int, kind: int, body: bytes) -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, 0x5, 1, 0) + body)
        (code,) = struct.unpack_from("=i", sock.recv(4096), 16)
    if code:
        raise OSError(-code, os.strerror(-code))
    return "netlink accepted a change"


def lower_loopback() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH22x", b"lo", 0))
    return "took the loopback down"


def mark(option: int, value: int) -> str:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
    return f"set socket option {option}"


def raw_socket(family: int) -> str:
    socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP).close()
    return "opened a raw socket"


def block_device() -> str:
    path = "/tmp/hostile-device"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(254, 0))
    try:
        os.close(os.open(path, os.O_RDONLY))
    finally:
        os.unlink(path)
    return "opened a block device"


def descriptors() -> str | None:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[entry] = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue  # the listing's own
    extra = {key: value for key, value in found.items() if int(key) > 2}
    return f"inherited {extra}" if extra else None


def unmount_everything() -> str | None:
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file]
    for point in reversed(points):
        try:
            fork_call("umount2", point.encode(), 2)
        except OSError:
            continue
        return f"unmounted {point}"
    return None


def remount(point: bytes) -> str:
    return fork_call("mount", b"none", point, None, ctypes.c_ulong(0x20 | 0x1000), None)


def attributes(point: bytes) -> str:
    request = (ctypes.c_uint64 * 4)(0, 1, 0, 0)
    return call("syscall", ctypes.c_long(442), -100, point, 0, ctypes.byref(request), ctypes.c_size_t(32))


def joining_descriptors() -> str | None:
    """What the descriptors of processes that come into this container show before they run their own program."""
    seen: set[str] = set()
    for _ in range(20000):
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or int(pid) in (1, os.getpid()):
                continue
            try:
                seen.update(os.readlink(f"/proc/{pid}/fd/{entry}") for entry in os.listdir(f"/proc/{pid}/fd"))
            except OSError:
                continue
    secret = sorted(link for link in seen if "net:[" in link or str(STATE) in link or "eventpoll" in link)
    return f"saw {secret}" if secret else None


ATTEMPTS: dict[str, Callable[[], str | None]] = {
    "list the state directory": lambda: entries(STATE),
    "read a key": (STATE / "ca" / "key").read_text,
    "list the run directory": lambda: entries(RUN),
    "list the run directory through its own root": lambda: entries(Path(f"/proc/1/root{RUN}")),
    "list /run": lambda: entries(Path("/run")),
    "reach the launcher": lambda: connect(RUN / "init.sock"),
    "see other processes": foreign_processes,
    "signal a process of the mesh": lambda: call("kill", FOREIGN_PID, 0),
    "trace a process of the mesh": lambda: call("ptrace", 16, FOREIGN_PID, None, None),
    "read memory of a process of the mesh": lambda: Path(f"/proc/{FOREIGN_PID}/environ").read_text(),
    "inherit descriptors": descriptors,
    "change links": lambda: netlink(0, 16, struct.pack("=BxHiII", 0, 0, 1, 0, 1)),
    "change rules": lambda: netlink(12, 0x10, struct.pack("=BBH", 0, 0, 10 << 8)),
    "take the loopback down": lower_loopback,
    "mark a socket": lambda: mark(36, 1337),
    "force a receive buffer": lambda: mark(33, 1 << 30),
    "open a raw socket": lambda: raw_socket(socket.AF_INET),
    "open a packet socket": lambda: raw_socket(socket.AF_PACKET),
    "make a user namespace": lambda: fork_call("unshare", NEWUSER),
    "make a user and mount namespace": lambda: fork_call("unshare", NEWUSER | NEWNS),
    "make a mount namespace": lambda: fork_call("unshare", NEWNS),
    "make a network namespace": lambda: fork_call("unshare", NEWNET),
    "make a PID namespace": lambda: fork_call("unshare", NEWPID),
    "make a cgroup namespace": lambda: fork_call("unshare", NEWCGROUP),
    "enter its own network namespace anew": lambda: fork_call("setns", os.open("/proc/1/ns/net", os.O_RDONLY), NEWNET),
    "mount": lambda: fork_call("mount", b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None),
    "bind the root": lambda: fork_call("mount", b"/", b"/tmp", None, ctypes.c_ulong(0x1000), None),
    "mount a new /proc": lambda: fork_call("mount", b"proc", b"/tmp", b"proc", ctypes.c_ulong(0), None),
    "unmount": unmount_everything,
    "remount /proc/sys": lambda: remount(b"/proc/sys"),
    "make /proc/sys writable": lambda: attributes(b"/proc/sys"),
    "change the root": lambda: fork_call("chroot", b"/tmp"),
    "write a sysctl of its network": lambda: write("/proc/sys/net/ipv4/ip_forward"),
    "write a sysctl of the machine": lambda: write("/proc/sys/kernel/core_pattern", "|/bin/false"),
    "raise its limit on namespaces": lambda: write("/proc/sys/user/max_user_namespaces", "100"),
    "write to sysrq": lambda: write("/proc/sysrq-trigger", "?"),
    "write to /sys": lambda: write("/sys/class/net/lo/mtu", "1000"),
    "write a cgroup": lambda: create(Path("/sys/fs/cgroup")),
    "open a block device": block_device,
    "write the mesh's code": lambda: create(PACKAGE),
    "change the host name": lambda: call("sethostname", b"x", 1),
    "change its resolver": lambda: write("/etc/resolv.conf", "nameserver 8.8.8.8"),
    "add a device": lambda: create(Path("/dev")),
}


def main() -> None:
    results: dict[str, str | None] = {}
    chosen = {"look into joining processes": joining_descriptors} if sys.argv[5:] == ["joining"] else ATTEMPTS
    for name, attempt in chosen.items():
        try:
            results[name] = attempt()
        except OSError:
            results[name] = None
    print(json.dumps(results))


if __name__ == "__main__":
    main()
