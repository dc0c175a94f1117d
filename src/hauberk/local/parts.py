"""Control plane and agent: kept running, ended in order."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hauberk.kit.backoff import Backoff
from hauberk.linux import start
from hauberk.linux.failure import LinuxFailure, ProgramNotStarted
from hauberk.linux.process import ProcessSpec
from hauberk.linux.start import Doors
from hauberk.local import logfile
from hauberk.local.server import OWN_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from hauberk.linux.start import Ground
    from hauberk.local.children import Child, Children
    from hauberk.local.loop import Loop

# The first death is answered at once: traffic goes on without us, but nobody should wait for new pods. A part that keeps dying must not
# take the machine's time.
_BACKOFF: Final = Backoff(first=0.2, limit=5.0, immediate=1, reset_after=30.0)
_PRIVATE_UMASK: Final = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What every part is started with."""

    loop: Loop
    ground: Ground
    children: Children
    environment: Mapping[str, str]


class Part:
    """One of the mesh's own processes: started again whenever it ends, until it is told to stop."""

    def __init__(self, name: str, log: Path, launch: Launch) -> None:
        self.name = name
        self._log = log
        self._launch = launch
        self._child: Child | None = None
        self._started = 0.0
        self._failures = 0
        self._restarts = 0
        self._stopping = False
        self._on_stopped: Callable[[], None] | None = None

    def start(self) -> None:
        """The part is on its way; if it cannot be started or ends, it is tried again."""
        if self._stopping:
            return
        spec = ProcessSpec(
            # -P: what lies in the current directory is never imported.
            argv=(sys.executable, "-P", "-m", "hauberk", self.name),
            env=self._launch.environment,
            capabilities=("ALL",),
            no_new_privs=False,
            umask=_PRIVATE_UMASK,
            rlimits=_limits(),
        )
        self._started = time.monotonic()
        try:
            self._child = self._fork(spec)
        except (LinuxFailure, OSError) as error:
            self._note("cannot be started", why=str(error))
            self._try_again()
            return
        self._child.waiters.append(self._on_end)

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """The part has been asked to end; `on_stopped` is called when it has, at once if it does not run."""
        self._stopping = True
        self._on_stopped = on_stopped
        if self._child is None:
            on_stopped()
        else:
            self._launch.children.signal(self._child, signal.SIGTERM)

    def describe(self) -> dict[str, Any]:
        """What `up` and `check` may know of it."""
        return {"pid": self._child.pid if self._child else None, "restarts": self._restarts}

    def _fork(self, spec: ProcessSpec) -> Child:
        log = logfile.open_log(self._log)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            doors = Doors(stdio=(nothing, log, log))
            return self._launch.children.spawn(OWN_PREFIX + self.name, start.plan(spec, self._launch.ground), doors, self._on_started)
        finally:
            os.close(nothing)
            os.close(log)

    def _on_started(self, failure: ProgramNotStarted | None) -> None:
        if failure is not None:
            self._note("cannot be started", why=str(failure))

    def _on_end(self, status: int) -> None:
        self._child = None
        self._launch.children.forget(OWN_PREFIX + self.name)
        if self._stopping:
            if self._on_stopped is not None:
                self._on_stopped()
            return
        self._note("ended and is started again", status=os.waitstatus_to_exitcode(status))
        self._try_again()

    def _try_again(self) -> None:
        self._restarts += 1
        self._failures = _BACKOFF.failures_after(self._failures, time.monotonic() - self._started)
        self._launch.loop.after(_BACKOFF.delay(self._failures), self.start)

    def _note(self, message: str, **facts: object) -> None:
        logfile.write_line(2, f"{self.name} {message}", **facts)


def _limits() -> tuple[tuple[str, int, int], ...]:
    # Some descriptors for each pod: as many as this machine allows. A core file would hold the keys of the mesh.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (("NOFILE", most, most), ("CORE", 0, 0))
