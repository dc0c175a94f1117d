"""The processes of a running mesh as this machine's kernel sees them: processor time and private memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hauberk.kit.places import Places

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Found:
    """A process; `inner` is its number in the mesh's own PID namespace, which is how the launcher knows it."""

    pid: int
    inner: int
    command: tuple[str, ...]

    @property
    def part(self) -> str:
        """`init`, `control-plane` or `agent`; empty for what runs in a pod."""
        text = " ".join(self.command)
        if "hauberk.local.init" in text:
            return "init"
        return next((name for name in ("control-plane", "agent") if f"hauberk {name}" in text), "")


def mesh_processes(places: Places) -> tuple[Found, ...]:
    """Init of the mesh and everything it has started."""
    init = int(places.lock.read_text().strip())
    depth = len(_numbers(init, "NSpid")) - 1
    family = {init}
    found = []
    # By number: a child never stands before its parent but after a wrap-around of the numbers, hence the second round.
    for _ in range(2):
        for pid in sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()):
            if pid not in family and (parents := _numbers(pid, "PPid")) and parents[0] in family:
                family.add(pid)
    for pid in sorted(family):
        numbers = _numbers(pid, "NSpid")
        if len(numbers) > depth:
            found.append(Found(pid, numbers[depth], _command(pid)))
    return tuple(found)


def part(processes: Iterable[Found], name: str) -> Found:
    """The one process of a part of the mesh."""
    return next(each for each in processes if each.part == name)


def sidecars(processes: Iterable[Found]) -> tuple[Found, ...]:
    """The Envoys that the agent has started."""
    return tuple(each for each in processes if "--config-yaml" in each.command and "xds.sock" in " ".join(each.command))


def private_megabytes(pid: int) -> float:
    """RssAnon: what the process alone occupies, without the files that all its likes share."""
    kilobytes = _numbers(pid, "RssAnon")
    return kilobytes[0] * 1024 / 1e6 if kilobytes else 0.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time used so far, all threads; to the nanosecond, where the accounting of /proc/PID/stat counts ticks."""
    return sum(_runtime(task) for pid in pids for task in _tasks(pid)) / 1e9


def _tasks(pid: int) -> tuple[Path, ...]:
    try:
        return tuple((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return ()


def _runtime(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except OSError:
        return 0


def _numbers(pid: int, field: str) -> list[int]:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return []
    text = next((line.partition(":")[2] for line in lines if line.startswith(f"{field}:")), "")
    return [int(word) for word in text.split() if word.isdigit()]


def _command(pid: int) -> tuple[str, ...]:
    try:
        return tuple(os.fsdecode(word) for word in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0") if word)
    except OSError:
        return ()
