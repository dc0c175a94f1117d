"""What a mesh leaves on the machine when it has ended: nothing, and this finds out."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from hauberk.kit.places import Places

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What was on the machine before, and what the mesh added while it ran."""

    links: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[tuple[int, str]]  # pid and start time: a pid alone may be used again


def links() -> frozenset[str]:
    """Names of the network interfaces of this namespace."""
    return frozenset(name for _, name in socket.if_nameindex())


def mounts() -> frozenset[str]:
    """Where something is mounted."""
    return frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())


def processes_of(places: Places) -> frozenset[tuple[int, str]]:
    """The mesh's init and everything below it."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        found = _stat(pid)
        if found is not None:
            children.setdefault(int(found[1]), []).append(pid)
    waiting, seen = [_init_pid(places)], set()
    while waiting:
        pid = waiting.pop()
        found = _stat(pid)
        if found is not None:
            seen.add((pid, found[19]))
        waiting += children.get(pid, [])
    return frozenset(seen)


def remains(before: Footprint, places: Places) -> tuple[str, ...]:
    """Everything of the mesh that is still there, in words; empty when it left nothing."""
    found = [f"link {name}" for name in sorted(links() - before.links)]
    found += [f"mount {name}" for name in sorted(mounts() - before.mounts)]
    found += [f"process {pid}" for pid, started in sorted(before.processes) if (_stat(pid) or [""] * 20)[19] == started]
    found += [f"file {path}" for path in (sorted(places.run.rglob("*")) if places.run.exists() else [])]
    return tuple(found)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, …, start time at 19; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields


def _init_pid(places: Places) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(str(places.init_socket))
        pid: int = _UCRED.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0]
        return pid
