"""`python -m bench [--only GROUP…] [--quick] [-o table|json]`: measure, and print ratios and targets."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from bench import commands, control_plane, engine, issuing, policies, size, starting, traffic
from bench.line import Line
from bench.scale import QUICK, Scale
from bench.table import show
from hauberk.envoy.binary import find_envoy, read_version

GROUPS: dict[str, Callable[[Scale], Iterator[Line]]] = {
    "starting": starting.measure,
    "size": size.measure,
    "commands": commands.measure,
    "requests": traffic.measure,
    "policies": policies.measure,
    "engine": engine.measure,
    "control-plane": control_plane.measure,
    "issuing": issuing.measure,
}


def main() -> int:
    """The exit code is 1 if a target is missed."""
    options = _options()
    scale = QUICK if options.quick else Scale()
    lines: list[Line] = []
    before = os.getloadavg()[0]
    for name in options.only or GROUPS:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        lines.extend(GROUPS[name](scale))
    machine = _machine(before)
    if options.output == "json":
        print(json.dumps({"machine": machine, "lines": [line.to_json() for line in lines]}, indent=2))
    else:
        # Wide enough for every row when nobody looks: a file or a pipe has no width of its own.
        show(Console(width=None if sys.stdout.isatty() else 180), machine, lines)
    return int(any(line.met is False for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=tuple(GROUPS), help="measure this group and no other; several times for several")
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it works, not how quick it is")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="one JSON document instead of the table")
    return parser.parse_args()


def _machine(load_before: float) -> dict[str, str | int | float]:
    """What the figures depend on besides the mesh."""
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return {
        "cores": os.cpu_count() or 0,
        "processor": model,
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "Envoy": read_version(find_envoy()),
        "user": "root" if os.geteuid() == 0 else "rootless",
        # More than a little of it before the start is somebody else's, and makes every figure worse.
        "load before": round(load_before, 2),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
