"""Waiting until a mesh that has just been started can be used."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Final

from hauberk.kit.unix_http import NotReachable, UnixHttp
from hauberk.linux.failure import LinuxFailure
from hauberk.local import contact, logfile
from hauberk.local.failure import NotReadyInTime, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hauberk.kit.places import Places

_OK: Final = 200
_RESTARTS_TOLERATED: Final = 2  # what ended three times with nobody having killed it will end a fourth time
_SHORTEST_PAUSE: Final = 0.02  # seconds between two looks; it grows, because a slow start is not made faster by looking
_LONGEST_PAUSE: Final = 0.2
_PATIENCE: Final = 2.0  # seconds for one answer


def await_ready(places: Places, seconds: float, progress: Callable[[str], None], pidfd: int | None = None) -> None:
    """Control plane and agent answer that they are ready.

    StartFailed as soon as the mesh has ended or one of the two keeps ending; NotReadyInTime after `seconds`.
    """
    deadline = time.monotonic() + seconds
    stages = [("control plane", "control-plane", places.api_socket, "/v1/readyz"), ("agent", "agent", places.agent_socket, "/v1/status")]
    if places.membership.exists():
        del stages[0]  # it is on another machine, and the agent is ready when it has been heard
    for title, name, socket, path in stages:
        progress(f"waiting for the {title}")
        pause = _SHORTEST_PAUSE
        # Of a mesh that has run for long, only what happens from now on counts.
        before = 0 if pidfd is not None else _restarts(places, name)
        while not _answers(socket, path):
            _require_alive(places, name, pidfd, pause, before)
            if time.monotonic() > deadline:
                log = places.process_log(name)
                raise NotReadyInTime(f"the {title} was not ready within {seconds:g} s", f"look into {log}{_last_words(log)}")
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        progress(f"the {title} is ready")


def _answers(socket: Path, path: str) -> bool:
    try:
        status, answer = UnixHttp(socket).request("GET", path, timeout=_PATIENCE)
    except NotReachable:
        return False
    agents = answer.get("agents", ()) if isinstance(answer, dict) else ()
    return status == _OK and all(each["ready"] for each in agents)


def _restarts(places: Places, name: str) -> int:
    """How often the part has been started again; 0 while init is busy, or ending: the next look tells."""
    try:
        part = contact.ask(places.init_socket).parts.get(name)
    except LinuxFailure:
        return 0
    return part.restarts if part is not None else 0


def _require_alive(places: Places, name: str, pidfd: int | None, pause: float, before: int) -> None:
    if pidfd is None:
        time.sleep(pause)
    else:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(pause * 1000):
            log = places.process_log("init")
            raise StartFailed("the mesh ended while it was starting", f"look into {log}{_last_words(log)}")
    if _restarts(places, name) - before >= _RESTARTS_TOLERATED:
        log = places.process_log(name)
        why, remedy = _last_error(log)
        title = name.replace("-", " ")
        raise StartFailed(
            f"the {title} keeps ending{f': {why}' if why else ''}", f"{remedy or 'see why'}; its log is {log}; `hauberk down` ends the mesh"
        )


def _last_error(log: Path) -> tuple[str, str]:
    """What the process said last of why it ended, and what to do about it, as far as it said so."""
    lines = logfile.tail(log)
    begin = max((number for number, line in enumerate(lines) if line.startswith("error: ")), default=None)
    if begin is None:
        return "".join(line.strip()[:300] for line in lines[-1:]), ""
    remedies = [line.strip().removeprefix("do: ") for line in lines[begin + 1 :] if line.strip().startswith("do: ")]
    remedy = " ".join(remedies)
    return lines[begin].removeprefix("error: ").removesuffix(remedy).strip().removesuffix(":"), remedy


def _last_words(log: Path) -> str:
    words = [line.strip() for line in logfile.tail(log, 3) if line.strip()]
    return f"; it ends with: {words[-1][:300]}" if words else ""
