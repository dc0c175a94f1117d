"""Ending a mesh, in order if it can be and by force if not, and forgetting what it kept."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from typing import TYPE_CHECKING, Final

from hauberk.linux import control
from hauberk.linux.failure import LinuxFailure
from hauberk.local import contact, lock, run_directory
from hauberk.local.failure import MeshNotRunning, StateNotWritable, StillRunning

if TYPE_CHECKING:
    from hauberk.kit.places import Places

_GRACE: Final = 3.0  # seconds that init gets beyond its own time limit, and again after having been told to end at once
_PAUSE: Final = 0.02


def stop(places: Places, *, purge: bool = False, timeout: float = 60.0) -> None:
    """No process, namespace, mount or socket of the mesh is left; with `purge`, no object, key or record either.

    What an earlier mesh that was killed has left behind is removed as well. MeshNotRunning if there was nothing to do at all.
    """
    _require_access(places)
    if not places.state.is_dir() and not places.run.is_dir():
        raise MeshNotRunning(places.mesh)
    held = lock.take(places.lock) if places.state.is_dir() else None
    found = held is None or places.run.is_dir()
    if held is None and places.state.is_dir():
        held = _end(places, timeout)
    try:
        places.workload_socket.unlink(missing_ok=True)
        run_directory.remove(places.run)
        if purge:
            _purge(places)
    except OSError as error:
        raise StateNotWritable(f"cannot remove what the mesh kept: {error}", "remove it by hand, or as the user who started it") from error
    finally:
        if held is not None:
            os.close(held)
    if not found and not purge:
        raise MeshNotRunning(places.mesh)


def _require_access(places: Places) -> None:
    for path in (places.state, places.run):
        try:
            path.is_dir()
        except PermissionError as error:
            hint = "run `hauberk down` as that user; for a mesh of your own, set HAUBERK_STATE_DIR and HAUBERK_RUN_DIR"
            raise StateNotWritable(f"{path} belongs to another user", hint) from error


def _end(places: Places, timeout: float) -> int:
    """The lock, taken over from a mesh that has ended."""
    pid = lock.holder(places.lock)
    # Asked a second time, init ends at once.
    for seconds in (timeout, 0.0):
        try:
            contact.ask_to_stop(places.init_socket, seconds)
        except LinuxFailure:
            break  # it answers nobody: only force is left
        if (held := _await_lock(places, seconds + _GRACE, pid)) is not None:
            return held
    return _kill(places, pid)


def _kill(places: Places, pid: int | None) -> int:
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise StillRunning(f"process {pid} of the mesh belongs to another user", "run `hauberk down` as that user") from error
    held = _await_lock(places, _GRACE, pid)
    if held is None:
        raise StillRunning("the mesh neither answers nor ends", f"find who holds {places.lock} (`fuser {places.lock}`) and kill it")
    return held


def _await_lock(places: Places, seconds: float, pid: int | None) -> int | None:
    """The lock as soon as the mesh has let it go, or None after `seconds`."""
    deadline = time.monotonic() + seconds
    if pid is not None:
        _await_end(pid, seconds)
    while (held := lock.take(places.lock)) is None and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return held


def _await_end(pid: int, seconds: float) -> None:
    try:
        descriptor = control.open_process(pid)
    except LinuxFailure:
        return  # it has ended already
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)


def _purge(places: Places) -> None:
    if not places.state.is_dir():
        return
    # Whoever set HAUBERK_STATE_DIR to a directory full of other things keeps them: only what a mesh writes is removed.
    for name in ("objects.db", "objects.db-wal", "objects.db-shm", "records.db", "records.db-wal", "records.db-shm", "version", "lock"):
        (places.state / name).unlink(missing_ok=True)
    places.issuer_keys.unlink(missing_ok=True)
    damaged = places.state.glob(f"{places.audit.name}.damaged-*")
    for folder in (places.authority, places.audit, *damaged, places.open_connections, places.agent_state, places.logs):
        shutil.rmtree(folder, ignore_errors=False) if folder.is_dir() else None
    for directory in (places.state, places.state.parent):
        try:
            directory.rmdir()
        except OSError:
            return
