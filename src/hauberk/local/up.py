"""Bringing a mesh up: prerequisites, the lock, init in its namespaces, readiness, and (in the foreground) its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

from hauberk import __version__
from hauberk.kit.places import PlaceUnusable
from hauberk.linux import control
from hauberk.linux.failure import LinuxFailure
from hauberk.local import contact, lock, prerequisites, readiness, run_directory, state_version
from hauberk.local.failure import AlreadyRunning, StartFailed, StateNotWritable
from hauberk.local.launching import Running, launch
from hauberk.local.order import AGENT_ALONE, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hauberk.kit.places import Places

_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0
_GRACE: Final = 5.0
_ANSWER_SECONDS: Final = 5.0  # a mesh that is just starting gets so long to answer
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(
    places: Places,
    *,
    rootless: bool | None = None,
    detach: bool = False,
    wait_seconds: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
    on_ready: Callable[[], None] | None = None,
) -> int:
    """The mesh runs; the result is the command's exit code.

    Detached, returns when init stands (with `wait_seconds`: when the mesh is ready). In the foreground, returns when the mesh has ended, by
    a signal to this process or by `hauberk down`. `on_ready` is called, in the foreground too, as soon as the mesh is ready.
    `rootless` None means: unless this is root. LocalFailure, with a hint, if it cannot be done.
    """
    wanted = os.geteuid() != 0 if rootless is None else rootless
    parts = _parts(places)
    patience = wait_seconds if wait_seconds is not None else (_READY_SECONDS if on_ready or not detach else None)
    held = _prepare(places, rootless=wanted)
    if held is None:
        _recognize(places, rootless, progress)
        _finish_start(places, patience, progress, on_ready)
        return 0
    progress("starting the mesh")
    with _orphans_adopted(detach=detach), contextlib.closing(launch(places, held, rootless=wanted, tied=not detach, parts=parts)) as mesh:
        if detach:
            _finish_start(places, patience, progress, on_ready, mesh.pidfd)
            return 0
        return _stay(places, mesh, patience, progress, on_ready)


@contextlib.contextmanager
def running(
    places: Places, *, rootless: bool | None = None, wait_seconds: float = _READY_SECONDS, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Running]:
    """A ready mesh for the time of the block, gone afterwards; it also ends if this process is killed. AlreadyRunning if there is one."""
    wanted = os.geteuid() != 0 if rootless is None else rootless
    parts = _parts(places)
    held = _prepare(places, rootless=wanted)
    if held is None:
        raise AlreadyRunning(f"the mesh {places.mesh!r} runs already", "`hauberk down` first, or use another name with --mesh")
    with _orphans_adopted(detach=False), contextlib.closing(launch(places, held, rootless=wanted, tied=True, parts=parts)) as mesh:
        try:
            readiness.await_ready(places, wait_seconds, progress, mesh.pidfd)
            yield mesh
        finally:
            _end(places, mesh)


def _parts(places: Places) -> tuple[str, ...]:
    """What is to run: both parts, or on a machine that has joined a control plane elsewhere the agent alone.

    Raises MembershipUnusable, also if the membership's certificate has expired: no agent could do anything with it.
    """
    if not places.membership.exists():
        return PARTS
    from hauberk.kit.clock import SystemClock  # noqa: PLC0415 - only a machine that has joined pays for what reads its membership
    from hauberk.local import joining_membership  # noqa: PLC0415 - as above

    membership = joining_membership.read_membership(places.membership)
    if membership is not None:
        joining_membership.require_alive(membership, SystemClock().now())
    return AGENT_ALONE


def _prepare(places: Places, *, rootless: bool) -> int | None:
    """The lock, with everything in place for init; None if a mesh runs already."""
    prerequisites.require(rootless=rootless)
    try:
        places.create()
    except PlaceUnusable as error:
        raise StateNotWritable(str(error), error.hint) from error
    held = lock.take(places.lock)
    if held is None:
        return None
    try:
        state_version.ensure(places.state)
        run_directory.empty(places.run)
    except OSError as error:
        os.close(held)
        raise StateNotWritable(
            f"cannot prepare {error.filename or places.run}: {error.strerror}", "free some space, or set HAUBERK_RUN_DIR"
        ) from error
    except BaseException:
        os.close(held)
        raise
    return held


def _recognize(places: Places, rootless: bool | None, progress: Callable[[str], None]) -> None:
    """The mesh that runs is the one that was asked for."""
    facts = _ask(places)
    if facts.stopping:
        raise AlreadyRunning(f"the mesh {places.mesh!r} is just ending", "try again in a moment")
    if rootless is not None and rootless != facts.rootless:
        mode = "rootless" if facts.rootless else "as root"
        raise AlreadyRunning(f"the mesh {places.mesh!r} runs already, but {mode}", "`hauberk down` first")
    if facts.version != __version__:
        raise AlreadyRunning(f"the mesh {places.mesh!r} runs already, in version {facts.version}", "`hauberk down`, then `hauberk up`")
    progress(f"the mesh {places.mesh!r} is already running")


def _ask(places: Places) -> contact.MeshFacts:
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            return contact.ask(places.init_socket)
        except LinuxFailure as error:
            # The lock is taken before the socket is opened, and freed after it is gone.
            if time.monotonic() > deadline:
                raise AlreadyRunning(f"the mesh {places.mesh!r} holds its lock but does not answer", "`hauberk down` ends it") from error
            time.sleep(0.05)


def _finish_start(
    places: Places, patience: float | None, progress: Callable[[str], None], on_ready: Callable[[], None] | None, pidfd: int | None = None
) -> None:
    if patience is not None:
        readiness.await_ready(places, patience, progress, pidfd)
    if on_ready is not None:
        on_ready()


def _stay(
    places: Places, mesh: Running, patience: float | None, progress: Callable[[str], None], on_ready: Callable[[], None] | None
) -> int:
    try:
        _finish_start(places, patience, progress, on_ready, mesh.pidfd)
        asked = _await_end(places, mesh, progress)
        # An init that ended in order has emptied the run directory; one that was killed has not.
        if not asked and places.init_socket.exists():
            raise StartFailed("the mesh was killed", f"`hauberk up` starts it again; its logs are in {places.logs}")
    finally:
        _end(places, mesh)
    return 0


def _await_end(places: Places, mesh: Running, progress: Callable[[str], None]) -> bool:
    """Whether a signal asked for the end of the mesh; returns when it has come."""
    asked = False
    with _told_of_signals() as signals:
        poll = select.poll()
        for descriptor in (mesh.pidfd, signals.fileno()):
            poll.register(descriptor, select.POLLIN)
        while mesh.pidfd not in dict(poll.poll()):
            signals.recv(64)
            progress("ending the mesh at once" if asked else "ending the mesh (once more: at once)")
            asked = True
            with contextlib.suppress(LinuxFailure):
                contact.ask_to_stop(places.init_socket, _STOP_SECONDS)
    return asked


def _end(places: Places, mesh: Running) -> None:
    """Init has ended, by force if it had to be, and what it left on the disk is gone."""
    mesh.let_go()
    if not _ended(mesh, _STOP_SECONDS + _GRACE):
        control.send_signal(mesh.pidfd, signal.SIGKILL)
        _ended(mesh, _GRACE)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(mesh.pid, 0)
    held = lock.take(places.lock)
    if held is not None:  # else somebody has started the next mesh already
        run_directory.remove(places.run)
        os.close(held)


def _ended(mesh: Running, seconds: float) -> bool:
    poll = select.poll()
    poll.register(mesh.pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@contextlib.contextmanager
def _told_of_signals() -> Iterator[socket.socket]:
    """A socket that becomes readable when this process is asked to end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _orphans_adopted(*, detach: bool) -> Iterator[None]:
    """Init becomes a child of this process when the one that started it ends, so that it can be reaped here: not every machine's
    first process reaps what it inherits."""
    if detach:
        yield
        return
    control.adopt_orphans()
    try:
        yield
    finally:
        control.adopt_orphans(adopt=False)
