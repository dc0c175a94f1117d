"""The control plane by itself: a thousand simulated proxies, a thousand services of five endpoints.

The proxies are played by the load client, a Go program that is not part of this repository: HAUBERK_LOADCLIENT names its binary,
or its directory, where `go build` makes one. Alone: `python -m bench.control_plane [--loadclient PATH] [--proxies N] [--services N]`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.line import Line, absent, typical
from bench.scale import Scale
from bench.table import show

GROUP = "control plane"
SETTING = "HAUBERK_LOADCLIENT"
HERE = Path(__file__).parent
ENDPOINTS = 5
# Milliseconds at the last proxy, seconds until all are configured, megabytes of the control plane.
ENDPOINT_TARGET, POLICY_TARGET, CONNECT_TARGET, MEMORY_TARGET = 250.0, 450.0, 15.0, 1000.0
STORE_SECONDS = 120
TRIGGER_IN_STEPS = "127.0.0.1:15901"


class ClientMissing(Exception):
    """There is no load client; the message says why."""


def measure(scale: Scale) -> Iterator[Line]:
    """Left out without the load client."""
    number = 1000 if scale.pods >= 50 else 100
    yield from measure_with(os.environ.get(SETTING, ""), number, number, scale)


def measure_with(client: str, proxies: int, services: int, scale: Scale) -> Iterator[Line]:
    """`proxies` connect at once; then endpoints and policies change."""
    what = f"{proxies:,} simulated proxies, {services:,} services"
    with tempfile.TemporaryDirectory(prefix="hauberk-bench-") as temporary:
        try:
            binary = _binary(client, Path(temporary))
        except ClientMissing as missing:
            yield absent(GROUP, what, str(missing))
            return
        scale.tell(what)
        results = _run(binary, Path(temporary), proxies, services)
    full = proxies == services == 1000  # the targets are for this size
    connected = _of(results, "connect")
    yield Line(
        group=GROUP,
        name=f"{what}: all configured after connecting at once",
        unit="s",
        value=connected[0]["last_ms"] / 1000,
        target=CONNECT_TARGET if full else None,
        samples=1,
    )
    for step, name, target in (("endpoint", "endpoint change", ENDPOINT_TARGET), ("policy", "policy of the namespace", POLICY_TARGET)):
        last = [each["last_ms"] for each in _of(results, step)]
        yield typical(GROUP, f"{name}, at the last proxy", "ms", last, target=target if full else None)
    peak = max(each["server_peak_rss_mb"] for each in results)
    yield Line(
        group=GROUP, name="memory of the control plane, at most", unit="MB", value=peak, target=MEMORY_TARGET if full else None, samples=1
    )


def _of(results: Sequence[dict[str, Any]], step: str) -> list[dict[str, Any]]:
    found = [each for each in results if each["step"] == step]
    assert found and all(each["ok"] for each in found), f"not every proxy got through step {step!r}: {found}"
    return found


def _binary(client: str, temporary: Path) -> Path:
    if not client:
        raise ClientMissing(f"{SETTING} does not name the load client (its binary, or the directory to build it in)")
    path = Path(client)
    if path.is_file() and os.access(path, os.X_OK):
        return path.resolve()
    if not (path / "go.mod").is_file():
        raise ClientMissing(f"{path} is neither a program nor a Go module")
    if shutil.which("go") is None:
        raise ClientMissing("go is not installed, and the load client is not built")
    binary = temporary / "loadclient"
    built = subprocess.run(["go", "build", "-o", binary, "."], cwd=path, capture_output=True, text=True, check=False)
    if built.returncode:
        raise ClientMissing(f"the load client does not build: {built.stderr.strip().splitlines()[-1]}")
    return binary


def _run(binary: Path, temporary: Path, proxies: int, services: int) -> list[dict[str, Any]]:
    address, trigger = _free_port(), _free_port()
    steps, out = temporary / "steps.json", temporary / "results.jsonl"
    text = (HERE / "loadclient/steps.json").read_text()
    steps.write_text(text.replace(TRIGGER_IN_STEPS, f"127.0.0.1:{trigger}"))
    with _server(services, address, trigger) as pid:
        command: list[str | Path] = [
            binary,
            "-addr",
            f"127.0.0.1:{address}",
            "-proxies",
            str(proxies),
            "-S",
            str(services),
            "-pid",
            str(pid),
        ]
        command += ["-node", HERE / "loadclient/node.json.tmpl", "-steps", steps, "-out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in out.read_text().splitlines()]


@contextmanager
def _server(services: int, address: int, trigger: int) -> Iterator[int]:
    command = [sys.executable, str(HERE / "control_plane_server.py"), "--services", str(services), "--endpoints", str(ENDPOINTS)]
    command += ["--address", f"127.0.0.1:{address}", "--trigger", str(trigger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline().strip() != "ready":
                raise RuntimeError("the control plane did not come up")
            yield server.pid
        finally:
            server.send_signal(signal.SIGKILL)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> int:
    """The exit code is 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane", description=__doc__)
    parser.add_argument("--loadclient", default=os.environ.get(SETTING, ""), help=f"binary or directory (default: {SETTING})")
    parser.add_argument("--proxies", type=int, default=1000)
    parser.add_argument("--services", type=int, default=1000)
    options = parser.parse_args()
    lines = list(measure_with(options.loadclient, options.proxies, options.services, Scale()))
    show(Console(width=None if sys.stdout.isatty() else 180), {"cores": os.cpu_count() or 0, "load": os.getloadavg()[0]}, lines)
    return int(any(line.met is False for line in lines))


if __name__ == "__main__":
    sys.exit(main())
