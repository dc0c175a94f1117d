"""How long a person waits for a command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.line import Line, typical
from bench.scale import Scale
from hauberk.testing.mesh import running_mesh

GROUP = "commands"
GET_TARGET, HELP_TARGET = 200.0, 120.0  # milliseconds


def measure(scale: Scale) -> Iterator[Line]:
    """In turn, against a running mesh; an empty Python for comparison."""
    with running_mesh("bench-commands") as mesh:
        namespace = mesh.namespace("bench")
        namespace.run("one", ["sleep", "infinity"], wait=False)
        namespace.run("two", ["sleep", "infinity"], wait=False)
        namespace.ready("one", "two")
        hauberk = _installed()
        asked = {
            "hauberk get pods": [*hauberk, "--mesh", mesh.places.mesh, "get", "pods", "-n", "bench"],
            "hauberk --help": [*hauberk, "--help"],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        for command in asked.values():
            _milliseconds(command)
        taken: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(scale.commands):
            for name, command in asked.items():
                taken[name].append(_milliseconds(command))
    for name, target in (("hauberk get pods", GET_TARGET), ("hauberk --help", HELP_TARGET), ("python -c pass", None)):
        yield typical(GROUP, name, "ms", taken[name], target=target)


def _installed() -> list[str]:
    """The command as users call it, beside the interpreter; otherwise the module."""
    script = Path(sys.executable).with_name("hauberk")
    return [str(script)] if script.exists() else [sys.executable, "-m", "hauberk"]


def _milliseconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
    return (time.perf_counter() - began) * 1000
