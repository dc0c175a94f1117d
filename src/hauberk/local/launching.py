"""Starting the init process in namespaces of its own, and hearing from it how that went."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hauberk.linux import control
from hauberk.linux.failure import decode_failure
from hauberk.local import lock, logfile, prerequisites
from hauberk.local.failure import StartFailed
from hauberk.local.order import ORDER_VARIABLE, PARTS, Order

if TYPE_CHECKING:
    from hauberk.kit.places import Places
    from hauberk.linux.failure import LaunchFailure


@dataclass(slots=True)
class Running:
    """A mesh this process has started."""

    pid: int  # init, as the machine counts
    pidfd: int
    lifeline: int | None  # closing it ends the mesh

    def let_go(self) -> None:
        """A mesh that is tied to this process ends; a detached one goes on."""
        lifeline, self.lifeline = self.lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    def close(self) -> None:
        """As `let_go`, and this object holds nothing any more."""
        self.let_go()
        os.close(self.pidfd)


def launch(places: Places, held: int, *, rootless: bool, tied: bool, parts: tuple[str, ...] = PARTS) -> Running:
    """Init stands and holds the lock `held`, which is closed here; `tied`, it ends when the result's lifeline is closed."""
    import subprocess  # noqa: PLC0415 - commands that only look must not pay for it

    report, tell = os.pipe2(os.O_CLOEXEC)
    lifeline, ours = os.pipe2(os.O_CLOEXEC) if tied else (None, None)
    log = logfile.open_log(places.process_log("init"))
    order = Order(mesh=places.mesh, rootless=rootless, lock=held, report=tell, lifeline=lifeline, parts=parts)
    inherited = tuple(descriptor for descriptor in (held, tell, lifeline) if descriptor is not None)
    try:
        starter = subprocess.Popen(
            [sys.executable, "-P", "-m", "hauberk.local.init"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | places.environment() | {ORDER_VARIABLE: order.encode()},
            pass_fds=inherited,
            start_new_session=True,
        )
        lines = _read_reports(report, tell)
        starter.wait()
        pid = _understand(places, lines, rootless=rootless)
        lock.note_pid(held, pid)
        return Running(pid, control.open_process(pid), ours)
    except BaseException:
        if ours is not None:
            os.close(ours)
        raise
    finally:
        for descriptor in (*inherited, log):
            if descriptor != tell:
                os.close(descriptor)
        os.close(report)


def _read_reports(report: int, tell: int) -> list[dict[str, object]]:
    """Everything init reports until it stands or has failed."""
    os.close(tell)  # ours would keep the pipe open for ever
    with os.fdopen(os.dup(report), "rb") as stream:
        return [json.loads(line) for line in stream]


def _understand(places: Places, lines: list[dict[str, object]], *, rootless: bool) -> int:
    """Init's pid, if the reports say that it stands."""
    told: dict[str, object] = {}
    for line in lines:
        told |= line
    if "failure" in told:
        failure: LaunchFailure = decode_failure(told["failure"])  # type: ignore[arg-type]
        if failure.code in (errno.EPERM, errno.ENOSPC, errno.EACCES, errno.EUSERS):
            raise prerequisites.explain_refusal(failure.code, rootless=rootless) from failure
        raise StartFailed(f"the mesh cannot start: {failure}", failure.hint) from failure
    if "ready" not in told or not isinstance(told.get("pid"), int):
        log = places.process_log("init")
        raise StartFailed("the mesh ended while it was starting", f"look into {log}: {' '.join(logfile.tail(log, 1))}")
    pid = told["pid"]
    assert isinstance(pid, int)
    return pid
