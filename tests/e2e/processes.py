"""The mesh's own processes as this machine numbers them: for tests that kill."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hauberk.kit.places import RUN_VARIABLE
from hauberk.testing.mesh import Mesh


def find(mesh: Mesh, part: str) -> int:
    """The process of `control-plane`, `agent` or `init` of this mesh."""
    marks = (f"{RUN_VARIABLE}={mesh.places.run.parent}".encode(), f"HAUBERK_MESH={mesh.places.mesh}".encode())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _matches(entry, part, marks):
            return int(entry.name)
    raise LookupError(f"no {part} of mesh {mesh.places.mesh}")


def kill(mesh: Mesh, part: str) -> int:
    """The part was killed as by kill -9; its process id."""
    number = find(mesh, part)
    os.kill(number, signal.SIGKILL)
    return number


def _matches(entry: Path, part: str, marks: tuple[bytes, ...]) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        variables = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return part.encode() in words and all(mark in variables for mark in marks)
