"""What each joined machine reaches of this control plane: sockets of its own, behind which nobody need ask who calls."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hauberk.api.metadata import ApiObject
from hauberk.api.pod import Pod
from hauberk.apiserver import remote
from hauberk.apiserver.state import Parts
from hauberk.citadel import service
from hauberk.citadel.attestation import Caller
from hauberk.citadel.authority import Citadel
from hauberk.citadel.service import Answer
from hauberk.kit.log import logger
from hauberk.pilot.pilot import Pilot

# What is asked for in the TLS handshake (ALPN): each leads to another socket.
API: Final = "hauberk-api/1"
XDS: Final = "hauberk-xds/1"
CITADEL: Final = "hauberk-citadel/1"
JOIN: Final = "hauberk-join/1"
PROTOCOLS: Final = (API, XDS, CITADEL, JOIN)
_FILES: Final = {API: "api.sock", XDS: "xds.sock", CITADEL: "ca.sock"}
_OPEN_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.005

_log = logger("remote")


class DoorStuck(OSError):
    """A machine's sockets could not be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What is served: the same objects as on the control plane's own sockets. `more`: further methods of the authority."""

    parts: Parts
    pilot: Pilot
    citadel: Citadel
    more: Callable[[], dict[str, Answer]] = dict


class NodeDoors:
    """The sockets of every machine that has called, in directories below `directory`."""

    def __init__(self, directory: Path, services: Services) -> None:
        self._directory = directory
        self._services = services
        self._number = 0
        self._open: dict[str, tuple[Path, asyncio.Task[None]]] = {}

    async def path(self, node: str, protocol: str) -> Path:
        """Where the services answer to `node`, and to it alone; opened when it is first asked for. Raises DoorStuck."""
        found = self._open.get(node)
        if found is None or found[1].done():
            self._number += 1
            # Numbers, because a node's name may be longer than a socket's path.
            place = self._directory / str(self._number)
            found = self._open[node] = place, asyncio.create_task(self._serve(node, place), name=f"remote:{node}")
        place, serving = found
        await _until_there(place, serving)
        return place / _FILES[protocol]

    def close(self, node: str) -> None:
        """Nothing answers to `node` any more; calls that are under way end."""
        found = self._open.pop(node, None)
        if found is not None:
            found[1].cancel()

    async def close_all(self) -> None:
        """The same for every machine; returns when it is done."""
        tasks = [task for _, task in self._open.values()]
        for node in tuple(self._open):
            self.close(node)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, node: str, place: Path) -> None:
        services = self._services
        caller = Caller(node=node, evidence=(("certificate", f"hauberk/agent/{node}"),))

        def placed_there(item: ApiObject) -> bool:
            return isinstance(item, Pod) and item.spec.node_name == node

        try:
            await asyncio.to_thread(place.mkdir, 0o700, parents=True)
            async with service.serving(services.citadel, place / _FILES[CITADEL], caller, services.more()), asyncio.TaskGroup() as tasks:
                tasks.create_task(services.pilot.serve(f"unix:{place / _FILES[XDS]}", placed_there), name=f"remote:xds:{node}")
                tasks.create_task(remote.serve_node(services.parts, node, place / _FILES[API]), name=f"remote:api:{node}")
        except Exception:
            # One machine's trouble; its next call opens the sockets anew.
            _log.exception("the services for a machine have ended", node=node)
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


async def _until_there(place: Path, serving: "asyncio.Task[None]") -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_OPEN_SECONDS):
            while not serving.done():
                if all((place / file).exists() for file in _FILES.values()):
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    raise DoorStuck(f"{place} was not opened in time")
