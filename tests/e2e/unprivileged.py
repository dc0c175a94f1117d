"""Running the same thing as a user without privileges, from tests that run as root.

`python unprivileged.py COMMAND…` runs COMMAND as uid and gid 65534 without supplementary groups, with HOME and the XDG directories in
a fresh directory of that user (HAUBERK_UNPRIVILEGED_HOME, or one that is removed afterwards). From a test: `run([sys.executable, …])`,
or put `PREFIX` before a command.

The interpreter, the virtual environment and the checkout may lie below a directory that others cannot enter (a home directory). They are
made reachable under their own paths, without copying anything: in a private mount namespace an empty, readable directory is mounted over
each closed ancestor, and in it what is needed is bound to where it was. Nothing of that exists outside of the process started here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hauberk.linux import mounts, namespaces

NOBODY = 65534
HOME_VARIABLE = "HAUBERK_UNPRIVILEGED_HOME"
PREFIX = (sys.executable, str(Path(__file__).resolve()))

_CHECKOUT = Path(__file__).resolve().parents[2]


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
    """The outcome of `command`, run as nobody (or as this user, if that is not root)."""
    prefix = PREFIX if os.geteuid() == 0 else ()
    return subprocess.run([*prefix, *command], env=env, timeout=timeout, text=True, capture_output=True, check=False)


def reach(needed: Sequence[Path]) -> None:
    """Every existing path of `needed` can be reached by every user of this mount namespace, which must be private."""
    # Held open before anything is covered.
    held = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in dict.fromkeys(needed) if path.exists()}
    closed = {directory for path in held if (directory := _closed_ancestor(path)) is not None}
    for directory in sorted(closed):
        mounts.mount("tmpfs", str(directory), options="mode=0755")
    for path, descriptor in held.items():
        if any(directory in path.parents for directory in closed):
            path.mkdir(parents=True, exist_ok=True)
            mounts.bind(f"/proc/self/fd/{descriptor}", str(path), recursive=True)
        os.close(descriptor)


def _closed_ancestor(path: Path) -> Path | None:
    """The outermost directory above `path` that others cannot enter."""
    return next((directory for directory in reversed(path.parents) if not directory.stat().st_mode & 0o001), None)


def _needed() -> list[Path]:
    searched = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    return [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], _CHECKOUT, *searched]


def _become_nobody() -> None:
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    reach(_needed())
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _environment(home: str) -> dict[str, str]:
    run_directory = Path(home) / "run"
    run_directory.mkdir(mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HAUBERK_STATE", "HAUBERK_RUN"))}
    return kept | {
        "HOME": home,
        "USER": "nobody",
        "LOGNAME": "nobody",
        "XDG_RUNTIME_DIR": str(run_directory),
        "XDG_STATE_HOME": f"{home}/state",
        "TMPDIR": home,
        # The checkout is read, never written, by this user.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def main(command: Sequence[str]) -> int:
    """The exit code of `command`, run as nobody."""
    given = os.environ.get(HOME_VARIABLE)
    home = given or tempfile.mkdtemp(prefix="hb-", dir="/tmp")
    os.chown(home, NOBODY, NOBODY)
    child = os.fork()
    if child == 0:
        try:
            _become_nobody()
            os.chdir(_CHECKOUT)
            os.execvpe(command[0], list(command), _environment(home))
        finally:
            os._exit(127)
    _, status = os.waitpid(child, 0)
    if not given:
        shutil.rmtree(home, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
