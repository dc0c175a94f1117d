"""User namespaces with their id maps, and becoming a user in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hauberk.linux import capabilities, namespaces
from hauberk.linux.failure import LinuxFailure

# Kinds whose number a container may be forbidden to raise above zero; a kernel without one of them lacks its file.
_COUNTED: Final = ("user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time")


@dataclass(frozen=True, slots=True)
class Extent:
    """`count` ids from `inside` on are those from `outside` on in the parent user namespace."""

    inside: int
    outside: int
    count: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"


IdMap = tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class User:
    """Who a process is."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None  # None = left as they are, where the kernel forbids changing them


def own_map(kind: str) -> IdMap:
    """The `uid` or `gid` map of the caller's user namespace, towards its parent."""
    lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
    return tuple(Extent(*(int(number) for number in line.split())) for line in lines)


def identity(parent: IdMap) -> IdMap:
    """The map of a child namespace in which every id means what it means in the parent."""
    return tuple(Extent(extent.inside, extent.inside, extent.count) for extent in parent)


def can_set_groups() -> bool:
    """Whether this user namespace lets its root change supplementary groups."""
    return Path("/proc/self/setgroups").read_text().strip() == "allow"


def create_single(uid: int, gid: int) -> None:
    """The calling process is root of a new user namespace in which there is nobody but the user it was."""
    namespaces.unshare(namespaces.NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def create_nested(uids: IdMap, gids: IdMap) -> None:
    """The calling process is in a new user namespace with these maps, with all capabilities inside it and none outside.

    Only a process of the parent namespace may write a map of more than one's own id, so a helper is forked for it and gone on return.
    """
    own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    ready, tell_ready = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        os._exit(_write_maps(own, ready, tell_ready, uids, gids))
    os.close(ready)
    try:
        namespaces.unshare(namespaces.NEWUSER)
        os.write(tell_ready, b"1")
    finally:
        os.close(tell_ready)
        os.close(own)
        _, status = os.waitpid(helper, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise LinuxFailure("cannot map the users of a container", "`hauberk check` says what this machine forbids", abs(code))


def _write_maps(own: int, ready: int, tell_ready: int, uids: IdMap, gids: IdMap) -> int:
    """Exit code of the helper: 0, or an errno."""
    try:
        os.close(tell_ready)
        if os.read(ready, 1) != b"1":
            return 0  # the namespace was not made; whoever failed says why
        for name, table in (("gid_map", gids), ("uid_map", uids)):
            file = os.open(name, os.O_WRONLY, dir_fd=own)
            os.write(file, "\n".join(str(extent) for extent in table).encode())
            os.close(file)
    except OSError as error:
        return error.errno or 1
    return 0


def forbid_namespaces(proc: int) -> None:
    """Nobody in this user namespace can make another namespace of any kind; `proc` is a directory descriptor of a writable /proc."""
    for kind in _COUNTED:
        try:
            file = os.open(f"sys/user/max_{kind}_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        except FileNotFoundError:
            continue
        os.write(file, b"0")
        os.close(file)


def become(user: User, kept: frozenset[int], *, no_new_privs: bool) -> None:
    """The calling process is `user`, holds `kept` of its capabilities, and neither it nor a program it runs can gain others."""
    everything = kept >= frozenset(range(len(capabilities.NAMES)))
    if not everything:
        capabilities.drop_bounding(kept)
        capabilities.forbid_root()
    capabilities.keep_across_setuid()
    if user.groups is not None:
        os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    if not everything:
        capabilities.hold(kept)
    if no_new_privs:
        capabilities.no_new_privileges()
