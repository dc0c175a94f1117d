"""The mesh's init: first process of its PID namespace. It starts every other process, holds the networks, and when it ends all of them do.

Run as `python -m hauberk.local.init` by `hauberk up`, which hands it an `Order`. It imports little and does
little: its end is the one thing that running pods do not survive.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import traceback
from typing import Any, Final, NoReturn

from hauberk import __version__
from hauberk.kit.places import Places
from hauberk.linux.failure import LinuxFailure, encode_failure
from hauberk.local import ground, logfile, run_directory, workload_door
from hauberk.local.children import Children
from hauberk.local.loop import READABLE, Loop
from hauberk.local.order import CONTROL_PLANE, ORDER_VARIABLE, Order
from hauberk.local.parts import Launch, Part
from hauberk.local.server import Server

_LOG_CHECK_SECONDS: Final = 20.0
_CONTROL_PLANE_PATIENCE: Final = 5.0  # seconds; it has nothing to save that is not saved already
_STOP_SECONDS: Final = 60.0  # for a stop asked for by a signal, or by the end of `hauberk up` in the foreground


class Init:
    """One mesh on one machine, from the moment its namespaces stand."""

    def __init__(self, order: Order, places: Places, door: socket.socket | None) -> None:
        self._order = order
        self._places = places
        self._started = time.time()
        self._stopping = False
        self._loop = Loop(_note_mistake)
        floor = ground.survey(places, rootless=order.rootless)
        self._children = Children(self._loop, floor)
        self._server = Server(self._loop, floor, self._children, describe=self._describe, stop=self.stop)
        if door is not None:
            self._server.keep(workload_door.KEPT, door.detach())
        environment = dict(os.environ) | places.environment() | {"HAUBERK_MESH": places.mesh, "HAUBERK_ROOTLESS": str(int(order.rootless))}
        launch = Launch(loop=self._loop, ground=floor, children=self._children, environment=environment)
        self._parts = tuple(Part(name, places.process_log(name), launch) for name in order.parts)

    def open(self) -> None:
        """The launcher can be reached and the parts are on their way."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.on_signal(number, lambda: self.stop(_STOP_SECONDS))
        self._loop.on_signal(signal.SIGCHLD, self._children.reap)
        if self._order.lifeline is not None:
            self._loop.watch(self._order.lifeline, READABLE, lambda _: self._on_lifeline())
        self._server.listen(str(self._places.init_socket))
        for part in reversed(self._parts):
            part.start()
        self._bound_logs()
        logfile.write_line(2, "the mesh is up", version=__version__, rootless=self._order.rootless)

    def run(self) -> None:
        """Returns when the mesh is to end; whatever still runs then is killed by the kernel as soon as this process exits."""
        self._loop.run()
        logfile.write_line(2, "the mesh ends")

    def stop(self, seconds: float) -> None:
        """The parts end one after the other, within `seconds`; asked for a second time, everything ends at once."""
        if self._stopping:
            self._loop.end()
            return
        self._stopping = True
        self._loop.after(seconds, self._loop.end)
        self._stop_next(self._parts)

    def _stop_next(self, parts: tuple[Part, ...]) -> None:
        if not parts:
            self._loop.end()
            return
        first, *rest = parts
        if first.name == CONTROL_PLANE:
            self._loop.after(_CONTROL_PLANE_PATIENCE, self._loop.end)
        first.stop(lambda: self._stop_next(tuple(rest)))

    def _on_lifeline(self) -> None:
        assert self._order.lifeline is not None
        self._loop.unwatch(self._order.lifeline)
        if not self._stopping:
            self.stop(_STOP_SECONDS)

    def _bound_logs(self) -> None:
        for name in ("init", *(part.name for part in self._parts)):
            if logfile.bound(self._places.process_log(name)):
                logfile.write_line(2, "a log had grown too large and begins anew", log=name)
        self._loop.after(_LOG_CHECK_SECONDS, self._bound_logs)

    def _describe(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "mesh": self._places.mesh,
            "rootless": self._order.rootless,
            "foreground": self._order.lifeline is not None,
            "startedAt": self._started,
            "stopping": self._stopping,
            "parts": {part.name: part.describe() for part in self._parts},
        }


def main() -> None:
    """Enter the namespaces and be the mesh's init there; the process that was started ends as soon as init stands."""
    order = Order.decode(os.environ.pop(ORDER_VARIABLE))
    os.umask(0o077)
    os.chdir("/")
    for descriptor in (order.lock, order.report, order.lifeline):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    # Before the user namespace is entered: there everybody believes to be root, and the places would be root's.
    places = Places(order.mesh)
    try:
        # Before anything is entered: it must see the machine's processes, which nothing in here does.
        descriptors = tuple(each for each in (order.lock, order.report, order.lifeline) if each is not None)
        door = workload_door.start(places, rootless=order.rootless, close=descriptors)
        if order.rootless:
            ground.enter_user_namespace()
        ground.enter_namespaces()
        pid = os.fork()
        if pid:
            _report(order.report, {"pid": pid})
            os._exit(0)
        ground.settle()
        init = Init(order, places, door)
        init.open()
    except (LinuxFailure, OSError) as error:
        _refuse(order, error)
    _report(order.report, {"ready": True})
    os.close(order.report)
    try:
        init.run()
    finally:
        run_directory.empty(places.run)
        os._exit(0)


def _note_mistake(error: Exception) -> None:
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    logfile.write_line(2, "a mistake in init", why=repr(error), where=where)


def _refuse(order: Order, error: LinuxFailure | OSError) -> NoReturn:
    logfile.write_line(2, "the mesh cannot start", why=str(error))
    failure = error if isinstance(error, LinuxFailure) else LinuxFailure(str(error), code=error.errno or 0)
    _report(order.report, {"failure": encode_failure(failure)})
    os._exit(1)


def _report(descriptor: int, document: dict[str, Any]) -> None:
    try:
        os.write(descriptor, json.dumps(document).encode() + b"\n")
    except OSError:
        return  # `up` was killed meanwhile; the mesh it asked for stands all the same


if __name__ == "__main__":
    main()
