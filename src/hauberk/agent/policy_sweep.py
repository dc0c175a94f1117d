"""Connections of bytes that policy allowed when they were made and allows no longer: they end, and no others.

A sidecar decides when a connection is made and never again. So whenever it has taken on something else to decide by, all that is open
is asked about once more, and what would be refused now is ended. What it has taken on and was not asked about is on disk: an agent
that was killed in the middle, or had no control plane to ask, does it later.

What ends is the connection from the caller; of a request that was upgraded (a WebSocket) that to the program, since by its caller's
connection other requests may come.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol

from hauberk.agent.live_connections import LiveConnection, host_of, port_of
from hauberk.agent.sidecar_pod import PodRef
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable
from hauberk.kit.watched import Watched
from hauberk.linux.socket_destroy import Connection
from hauberk.translate.inbound_listener import INBOUND_PORT

# A connection that was decided a moment before is in the sidecar's file after so long, and has been read from there.
SETTLED_SECONDS: Final = 0.5
# What a sidecar that was busy wrote later than that is looked at once more.
AGAIN_SECONDS: Final = 3.0
_RETRY: Final = Backoff(first=0.2, limit=2.0)
_ASKED_AT_ONCE: Final = 5_000  # connections in one question

_log = logger("policy")

# Ends what is condemned of a pod's connections; how many those were.
End = Callable[[PodRef, Callable[[Connection], bool]], Awaitable[int]]
# The open connections of the pod with that uid.
Live = Callable[[str], Awaitable[Sequence[LiveConnection]]]


class Sidecars(Protocol):
    """What is needed of the machine's sidecars."""

    @property
    def pods(self) -> tuple[PodRef, ...]:
        """The pods that have one."""

    @property
    def changes(self) -> Watched[str]:
        """Whose (uid) may have taken on something else."""

    def connections_rule(self, uid: str) -> str | None:
        """What the pod's Envoy goes by when it takes connections of bytes; None while that is not known."""


class PolicySweep:
    """`run` ends connections until cancelled. `path` is where it is kept what was asked about already."""

    def __init__(self, *, sidecars: Sidecars, live: Live, end: End, api: AsyncUnixHttp, path: Path) -> None:
        self._sidecars = sidecars
        self._live = live
        self._end = end
        self._api = api
        self._path = path
        self._swept = _read(path)
        self._changed = asyncio.Event()
        self._working: dict[str, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()
        sidecars.changes.subscribe(self._look)

    def _look(self, uid: str) -> None:
        rule = self._sidecars.connections_rule(uid)
        if rule is not None and rule != self._swept.get(uid) and uid not in self._working:
            self._changed.set()

    async def run(self) -> NoReturn:
        """Whatever a sidecar has taken on is followed by what that demands of its open connections."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                self._forget()
                for pod in self._sidecars.pods:
                    if self._owes(pod.uid) and pod.uid not in self._working:
                        self._working[pod.uid] = tasks.create_task(self._sweep(pod), name=f"policy:{pod.full_name}")
                await self._changed.wait()

    def _owes(self, uid: str) -> bool:
        rule = self._sidecars.connections_rule(uid)
        return rule is not None and rule != self._swept.get(uid)

    def _forget(self) -> None:
        """What is known of pods that are gone; before all are taken on, nobody is known to be gone."""
        known = {pod.uid for pod in self._sidecars.pods}
        for uid in self._swept.keys() - known - self._working.keys() if known else ():
            del self._swept[uid]

    async def _sweep(self, pod: PodRef) -> None:
        try:
            rule = self._sidecars.connections_rule(pod.uid)
            if rule is None:
                return
            ended = 0
            for pause in (SETTLED_SECONDS, AGAIN_SECONDS):
                await asyncio.sleep(pause)
                ended += await self._judge_until_answered(pod)
            if ended:
                _log.info("connections ended that policy no longer allows", pod=pod.full_name, connections=ended)
            if self._is_here(pod):
                await self._remember(pod.uid, rule)
        finally:
            self._working.pop(pod.uid, None)
            # It may have taken on the next already.
            self._changed.set()

    async def _remember(self, uid: str, rule: str) -> None:
        self._swept[uid] = rule
        async with self._writing:
            await asyncio.to_thread(_write, self._path, dict(self._swept))

    def _is_here(self, pod: PodRef) -> bool:
        return any(each.uid == pod.uid for each in self._sidecars.pods)

    async def _judge_until_answered(self, pod: PodRef) -> int:
        failures = 0
        while self._is_here(pod):
            found = await self._live(pod.uid)
            refused = await self._refused(pod, found)
            if refused is not None:
                return await self._end_those(pod, refused)
            failures += 1
            await asyncio.sleep(_RETRY.delay(failures))
        return 0

    async def _end_those(self, pod: PodRef, refused: Sequence[LiveConnection]) -> int:
        callers = {(each.caller_host, each.caller_port) for each in refused if each.upgrade is None}
        upgrades = {(*_parts(each.upgrade.near), *_parts(each.upgrade.far)) for each in refused if each.upgrade is not None}
        if not callers and not upgrades:
            return 0

        def condemned(each: Connection) -> bool:
            if (each.local, each.local_port, each.remote, each.remote_port) in upgrades:
                return True
            return each.local_port == INBOUND_PORT and (each.remote, each.remote_port) in callers

        return await self._end(pod, condemned)

    async def _refused(self, pod: PodRef, found: Sequence[LiveConnection]) -> list[LiveConnection] | None:
        """Those that policy allows no longer; None if nobody knows at present."""
        refused: list[LiveConnection] = []
        for at in range(0, len(found), _ASKED_AT_ONCE):
            part = found[at : at + _ASKED_AT_ONCE]
            question = {"namespace": pod.namespace, "pod": pod.name, "connections": [_asked(each) for each in part]}
            try:
                status, answer = await self._api.request("POST", "/v1/decisions", question)
            except NotReachable:
                return None
            if status != 200:
                return None
            refused += [each for each, allowed in zip(part, answer["allowed"], strict=True) if not allowed]
        return refused


def _parts(address: str) -> tuple[str, int]:
    return host_of(address), port_of(address)


def _asked(connection: LiveConnection) -> dict[str, object]:
    asked: dict[str, object] = {
        "identity": connection.identity,
        "address": connection.caller_host,
        "destination": connection.called_host,
        "port": connection.called_port,
        "serverName": connection.server_name,
    }
    if (upgrade := connection.upgrade) is not None:
        asked["request"] = {"method": upgrade.method, "host": upgrade.host, "path": upgrade.path, "client": upgrade.client}
    return asked


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(uid): str(rule) for uid, rule in found.items()} if isinstance(found, dict) else {}


def _write(path: Path, swept: dict[str, str]) -> None:
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(swept))
        new.replace(path)
    except OSError as exc:
        # A full disk: after a restart connections are asked about once more than they had to be.
        _log.warning("what connections were asked about could not be remembered", path=str(path), reason=str(exc))
