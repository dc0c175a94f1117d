"""Processes that are in no pod: the entries that are for this machine, and whom the door has let in."""

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from hauberk.agent.workload_caller import Claim, NotEntitled, NotReady
from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE, mesh_config_of
from hauberk.api.workload_entry import WorkloadEntry
from hauberk.identity.selector import SHA256, unmet
from hauberk.identity.wire import EntrySubject
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable, RequestFailed
from hauberk.kit.watched import Watched
from hauberk.linux.packet import PacketMalformed, close_all, receive_packet, send_packet

_RETRY: Final = Backoff(first=0.1, limit=2.0)
_PATIENCE: Final = 10.0  # seconds for the door to look at a process: a program of gigabytes takes some to read
_log = logger("workload-api")

Entries = tuple[WorkloadEntry, ...]


class EntrySource:
    """The entries of the mesh's settings that are for `node`; `current` None: they were never read.

    `own`: the machine is the control plane's.
    """

    def __init__(self, api: AsyncUnixHttp, node: str, *, own: bool) -> None:
        self._api = api
        self._node = node
        self._own = own
        self.current: Watched[Entries] = Watched()

    async def run(self) -> NoReturn:
        """Follows the settings until cancelled."""
        failures = 0
        while True:
            try:
                async with aclosing(self._settings()) as settings:
                    async for config_map in settings:
                        failures = 0
                        self._take(config_map)
            except (NotReachable, RequestFailed) as exc:
                _log.debug("the entries cannot be followed now", reason=str(exc))
            except (ValidationError, ValueError, KeyError, TypeError) as exc:
                _log.warning("the control plane's answer is not understood", reason=type(exc).__name__)
            failures += 1
            await asyncio.sleep(_RETRY.delay(failures))

    def _take(self, config_map: ConfigMap | None) -> None:
        entries = mesh_config_of(config_map).hauberk.workload_entries
        mine = tuple(entry for entry in entries if entry.is_for(self._node, own=self._own))
        if mine != self.current.value:
            self.current.set(mine)
            _log.info("entries", names=[entry.name for entry in mine])

    async def _settings(self) -> AsyncGenerator[ConfigMap | None, None]:
        """The ConfigMap as it is, and as it becomes."""
        code, answer = await self._api.request("GET", "/v1/objects/configmaps")
        if code != 200:
            raise RequestFailed(code, answer)
        found = [document for document in answer["items"] if _is_settings(document)]
        yield ConfigMap.model_validate(found[0]) if found else None
        watch = f"/v1/objects/configmaps?watch=true&resourceVersion={answer['metadata']['resourceVersion']}"
        async with aclosing(self._api.stream_lines(watch)) as lines:
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK" and _is_settings(event["object"]):
                    yield None if event["type"] == "DELETED" else ConfigMap.model_validate(event["object"])


def _is_settings(document: dict[str, Any]) -> bool:
    metadata = document["metadata"]
    return (metadata.get("namespace"), metadata.get("name")) == (ROOT_NAMESPACE, NAME)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection of a process of this machine, with a pidfd of it; both are the taker's to close."""

    connection: socket.socket
    pidfd: int
    uid: int
    gid: int


class Door:
    """Our end of the process that stands outside (`local.workload_door`): it brings arrivals, and looks at processes for us."""

    def __init__(self, channel: socket.socket, arrived: Callable[[Arrival], None]) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._arrived = arrived
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def run(self) -> None:
        """Until cancelled, or until the door is gone."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self._channel.fileno(), lambda: self._read(gone))
        try:
            await gone.wait()
            _log.error("the door for processes that are in no pod has gone: they get no identity until the mesh is started anew")
        finally:
            loop.remove_reader(self._channel.fileno())
            self._channel.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the door has gone"))

    async def examine(self, pidfd: int, *, uid: int, gid: int, digest: bool) -> dict[str, str]:
        """What can be proven of the process; raises NotEntitled if that is nothing, NotReady if the door does not answer."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            send_packet(self._channel, {"op": "examine", "id": number, "uid": uid, "gid": gid, "digest": digest}, (pidfd,))
            async with asyncio.timeout(_PATIENCE):
                document = await answer
        except (OSError, TimeoutError) as exc:
            raise NotReady("the process cannot be looked at now") from exc
        finally:
            self._waiting.pop(number, None)
        match document:
            case {"evidence": dict(evidence)}:
                return {str(kind): str(value) for kind, value in evidence.items()}
            case _:
                raise NotEntitled(f"nothing can be proven of the process that connected: {document.get('refused', 'no answer')}")

    def _read(self, gone: asyncio.Event) -> None:
        try:
            while (packet := receive_packet(self._channel)) is not None:
                self._deliver(*packet)
        except (BlockingIOError, PacketMalformed):
            return
        except OSError as exc:
            _log.warning("the door cannot be heard", reason=str(exc))
        gone.set()

    def _deliver(self, document: dict[str, Any], descriptors: list[int]) -> None:
        match document:
            case {"op": "caller", "uid": int(uid), "gid": int(gid)} if len(descriptors) == 2:
                self._arrived(Arrival(socket.socket(fileno=descriptors[0]), descriptors[1], uid, gid))
                return
            case {"op": "evidence", "id": int(number)} if (answer := self._waiting.get(number)) is not None and not answer.done():
                answer.set_result(document)
            case _:
                pass  # of an agent before this one
        close_all(descriptors)


@dataclass(frozen=True, slots=True)
class EntryCaller:
    """A process of the machine. It is looked at for every answer: it may have become another program since it connected."""

    arrival: Arrival
    door: Door
    entries: Watched[Entries]

    async def claims(self) -> tuple[Claim, ...]:
        """One for each entry that holds for it, in the order of the settings."""
        entries = self.entries.value
        if entries is None:
            raise NotReady("the control plane has not been reached yet")
        if not entries:
            raise NotEntitled("no entry of the mesh's settings is for this machine")
        digest = any(SHA256 in entry.selectors.texts() for entry in entries)
        arrival = self.arrival
        evidence = await self.door.examine(arrival.pidfd, uid=arrival.uid, gid=arrival.gid, digest=digest)
        found = tuple(_claim(entry, evidence) for entry in entries if not unmet(entry.selectors.texts(), evidence))
        if not found:
            _log.info("no entry holds", **evidence)
            raise NotEntitled("no entry of the mesh's settings holds for the process that connected")
        return found

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Entries come and go."""
        return self.entries.subscribe(lambda _: tell())


def _claim(entry: WorkloadEntry, evidence: dict[str, str]) -> Claim:
    namespace, account = entry.account
    subject = EntrySubject(name=entry.name, evidence=tuple(sorted(evidence.items())))
    return Claim(subject=subject, namespace=namespace, service_account=account, hint=entry.name)


def close_arrival(arrival: Arrival) -> None:
    """It is turned away."""
    arrival.connection.close()
    os.close(arrival.pidfd)
