"""The demo as one watches it: the view is drawn again every half second from what API and agent say, until Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live

from hauberk.demo.mesh import DemoFailed, DemoMesh
from hauberk.demo.traffic import Traffic
from hauberk.demo.view import Scene, render
from hauberk.kit.unix_http import NotReachable, RequestFailed

_FRAME = 0.5  # seconds between two pictures: fast enough to be live, slow enough to read
_AGAIN = 0.5  # seconds until the stream of records is opened again after the agent has gone
_SNAPSHOT_WIDTH = 128  # characters of a picture


class Watcher:
    """Gathers what the view shows."""

    def __init__(self, mesh: DemoMesh) -> None:
        self._mesh = mesh
        self._traffic = Traffic()
        self._guard = threading.Lock()
        self._started = time.monotonic()
        self._scene = Scene((), (), (), (), 0, 0, 0.0)
        threading.Thread(target=self._follow, name="records", daemon=True).start()

    def scene(self) -> Scene:
        """The present picture; what cannot be asked just now stays as it was, and the picture says so."""
        message, pods, services = "", self._scene.pods, self._scene.services
        try:
            pods, services = self._mesh.listed("pods"), self._mesh.listed("services")
        except (NotReachable, DemoFailed) as error:
            message = f"the control plane does not answer ({error}); the pods go on without it"
        now = time.monotonic()
        with self._guard:
            edges, denials = self._traffic.edges(now), self._traffic.denials()
            total, denied = self._traffic.total, self._traffic.denied_total
        self._scene = Scene(pods, services, edges, denials, total, denied, now - self._started, message)
        return self._scene

    def _follow(self) -> None:
        while True:
            try:
                for record in self._mesh.follow():
                    with self._guard:
                        self._traffic.add(record, time.monotonic())
            except (NotReachable, RequestFailed):
                pass  # the agent is being restarted; its records of meanwhile are kept and not shown here
            time.sleep(_AGAIN)


def watch(mesh: DemoMesh, ended: Callable[[], bool], snapshot: Path | None = None, seconds: float | None = None) -> None:
    """Show the demo until it is ended, or for so many seconds; at the end leave a picture in `snapshot`, if one was asked for."""
    watcher, console = Watcher(mesh), Console()
    until = None if seconds is None else time.monotonic() + seconds
    with Live(console=console, screen=console.is_terminal, auto_refresh=False, transient=True) as live:
        while not ended() and (until is None or time.monotonic() < until):
            if console.is_terminal:
                live.update(render(watcher.scene()), refresh=True)
            time.sleep(_FRAME)
    if snapshot is not None:
        draw(watcher.scene(), snapshot)


def draw(scene: Scene, path: Path) -> None:
    """A picture of the view, as SVG."""
    with open("/dev/null", "w", encoding="utf-8") as nothing:  # noqa: PTH123 -- rich prints while it records; nobody is to see it
        console = Console(
            record=True, width=_SNAPSHOT_WIDTH, file=nothing, force_terminal=True, color_system="truecolor", legacy_windows=False
        )
        console.print(render(scene))
    path.write_text(console.export_svg(title="hauberk demo", unique_id="hauberk-demo"), encoding="utf-8")
