"""What can be proven of a process of this machine: whom it acts as, which program it runs, in which control group.

Everything is read from /proc while a pidfd holds the process (see `peer`). Kinds and forms are those of `identity.selector`: a kind that
cannot be proven is absent, and a selector that asks for it does not hold.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from pathlib import Path
from typing import Final

from hauberk.linux.peer import PeerGone, alive, pid_of

_READ: Final = 1 << 20
_MOST_DIGESTS: Final = 256
# Read in a second or two, holes and all; whoever must prove more than that has another selector for it.
LARGEST_PROGRAM: Final = 1 << 30


class Unprovable(Exception):
    """Nothing is said of this process, whatever else it is; the message says why."""


class Examiner:
    """Looks at processes; digests of programs are remembered for as long as the file is the same and unchanged.

    Threads may share it: at worst two of them read the same file.
    """

    def __init__(self) -> None:
        self._digests: OrderedDict[tuple[int, ...], str] = OrderedDict()

    def examine(self, pidfd: int, *, uid: int, gid: int, digest: bool) -> dict[str, str]:
        """Evidence by kind of the process that connected as `uid` and `gid`; its program's digest only if `digest`, for it takes time.

        Raises PeerGone, or Unprovable if it is not a process of this machine's own network namespace or cannot be looked into.
        """
        pid = pid_of(pidfd)
        if not pid:
            raise Unprovable("it is in a PID namespace that is not seen from here")
        try:
            _check_network(pid)
            _check_user(pid, uid, gid)
            evidence = {"uid": str(uid), "gid": str(gid), **self._program(pid, digest=digest), **_cgroup(pid)}
        except OSError as error:
            if not alive(pidfd):
                raise PeerGone("whoever connected has ended") from error
            raise Unprovable(f"it cannot be looked into: {error.strerror}") from error
        # Only now is what was read known to be of this process: while it lives its number is its own.
        if not alive(pidfd):
            raise PeerGone("whoever connected has ended")
        return evidence

    def _program(self, pid: int, *, digest: bool) -> dict[str, str]:
        link = f"/proc/{pid}/exe"
        # Not the name but the file that runs is opened, also if it has another name by now, or none.
        program = os.open(link, os.O_RDONLY | os.O_CLOEXEC) if digest else os.open(link, os.O_PATH | os.O_CLOEXEC)
        try:
            status = os.fstat(program)
            found = {"path": path} if (path := _path(link, status)) else {}
            return {**found, "sha256": self._digest(program, status)} if digest else found
        finally:
            os.close(program)

    def _digest(self, program: int, status: os.stat_result) -> str:
        # The change time is the kernel's own, and nobody can set it back.
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._digests.get(key)
        if known is None:
            if status.st_size > LARGEST_PROGRAM:
                raise Unprovable(f"its program is larger than {LARGEST_PROGRAM >> 30} GiB, too large for its content to be read")
            known = self._digests[key] = _sha256(program)
            while len(self._digests) > _MOST_DIGESTS:
                self._digests.popitem(last=False)
        return known


def _check_network(pid: int) -> None:
    """Its network namespace is ours: else it is a container's, whose files and users mean something else."""
    if not os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net")):  # noqa: PTH116 - links of /proc
        raise Unprovable("it is in a network namespace of its own")


def _check_user(pid: int, uid: int, gid: int) -> None:
    """It still is whom it was when it connected."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines() if ":" in line)
    effective = tuple(int(status[name].split()[1]) for name in ("Uid", "Gid"))
    if effective != (uid, gid):
        raise Unprovable("it acts as another user or group than when it connected")


def _path(link: str, status: os.stat_result) -> str:
    """The program's name, if the file of that name is the one that runs: not another put in its place, nor one of other mounts."""
    path = os.readlink(link)  # noqa: PTH115
    try:
        named = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    except OSError:
        return ""
    return path if stat.S_ISREG(named.st_mode) and os.path.samestat(named, status) and _is_text(path) else ""


def _cgroup(pid: int) -> dict[str, str]:
    """Of the unified hierarchy (`0::`), or where there is none of the one that systemd tells services apart by."""
    groups = dict(line.split(":", 2)[1:] for line in _cgroup_lines(pid) if line.count(":") >= 2)
    path = groups.get("") or groups.get("name=systemd") or ""
    # Above the root of our own namespace of control groups there is nothing that has a name here.
    return {"cgroup": path} if path.startswith("/") and "/.." not in path and _is_text(path) else {}


def _cgroup_lines(pid: int) -> list[str]:
    return os.fsdecode(Path(f"/proc/{pid}/cgroup").read_bytes()).splitlines()


def _is_text(name: str) -> bool:
    """Names in a file system may be any bytes: one that is no UTF-8 can be told to nobody, and no selector can ask for it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sha256(program: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(program, _READ, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()
