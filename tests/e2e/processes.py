"""The mesh's own processes as this machine numbers them: for tests that kill."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hauberk.local import lock
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace


def find(mesh: Mesh, part: str) -> int:
    """The process of `control-plane`, `agent` or `init` of this mesh."""
    parent = lock.holder(mesh.places.lock)
    if part == "init" and parent is not None:
        return parent
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _matches(entry, part, parent):
            return int(entry.name)
    raise LookupError(f"no {part} of mesh {mesh.places.mesh}")


def kill(mesh: Mesh, part: str) -> int:
    """The part was killed as by kill -9; its process id."""
    number = find(mesh, part)
    os.kill(number, signal.SIGKILL)
    return number


def find_envoy(mesh: MeshNamespace, pod: str) -> int:
    """The Envoy of `pod`."""
    address = mesh.get("pods", pod)["status"]["podIP"]
    mark = f"sidecar~{address}~{pod}.{mesh.name}~".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "cmdline").read_bytes() and not _is_zombie(entry):
                    return int(entry.name)
    raise LookupError(f"no Envoy of {pod} in {mesh.name}")


@contextmanager
def halted(mesh: Mesh, part: str) -> Iterator[None]:
    """The part does nothing for the time of the block; unlike one that was killed it is not replaced."""
    number = find(mesh, part)
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(number, signal.SIGCONT)


def lives(number: int) -> bool:
    """Whether the process still runs."""
    try:
        return not _is_zombie(Path(f"/proc/{number}"))
    except OSError:
        return False


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _matches(entry: Path, part: str, parent: int | None) -> bool:
    # By its parent, not by its environment: nobody but root can read that of a process with keys in its memory.
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return part.encode() in words and int(fields[1]) == parent
