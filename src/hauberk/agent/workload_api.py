"""The Workload API of one machine: a socket for each pod, the machine's own through the door, and one server behind all of them."""

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import grpc.aio

from hauberk.agent.attestor import PodSpace, Refused, admit
from hauberk.agent.program import SIDECAR
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.trust_report import Held
from hauberk.agent.workload_caller import PodCaller
from hauberk.agent.workload_entry import Arrival, Door, EntryCaller, EntrySource, close_arrival
from hauberk.agent.workload_front import Crowded, Front, accept_forever
from hauberk.agent.workload_identity import Authority, Identities
from hauberk.agent.workload_service import WorkloadService
from hauberk.agent.workload_token import Tokens
from hauberk.identity.trust import Trust
from hauberk.kit.clock import Clock
from hauberk.kit.log import logger
from hauberk.kit.places import Places
from hauberk.kit.unix_http import AsyncUnixHttp
from hauberk.kit.unix_server import listen
from hauberk.kit.watched import Watched
from hauberk.linux.launch import Launcher

DOOR: Final = "workload-door"  # the launcher's name of the door's end that it keeps
SOCKET: Final = "api.sock"
_GRACE_SECONDS: Final = 0.5
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    # Of one connection, of which one caller has `MOST_CONNECTIONS` at most.
    ("grpc.max_concurrent_streams", 64),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
)
_log = logger("workload-api")


class WorkloadApi:
    """Serves while `run` runs; `open` and `close` follow the pods.

    `own`: `node` is the control plane's own machine. `changed` is called when what programs hold (`holders`) may be another.
    """

    def __init__(
        self,
        *,
        places: Places,
        launcher: Launcher,
        api: AsyncUnixHttp,
        authority: Authority,
        trust: Watched[Trust],
        node: str,
        own: bool,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._places = places
        self._launcher = launcher
        self._inner = places.run / "ids.sock"
        self._front = Front(self._inner)
        self._entries = EntrySource(api, node, own=own)
        self._identities = Identities(authority, trust, clock=clock, changed=changed)
        tokens = Tokens(authority, trust, clock)
        self._service = WorkloadService(
            caller_of=self._front.caller_of, identities=self._identities, tokens=tokens, trust=trust, clock=clock
        )
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._arrivals: asyncio.TaskGroup | None = None

    async def run(self) -> NoReturn:
        """Answers until cancelled."""
        await asyncio.to_thread(self._inner.unlink, missing_ok=True)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._service.handlers(),))
        server.add_insecure_port(f"unix:{self._inner}")
        await server.start()
        try:
            await asyncio.to_thread(self._inner.chmod, 0o600)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._entries.run(), name="workload-api:entries")
                tasks.create_task(self._serve_machine(), name="workload-api:machine")
                await asyncio.Event().wait()
        finally:
            await self._identities.close()
            await self._end(tuple(self._pods))
            await server.stop(_GRACE_SECONDS)
        raise AssertionError("nothing ends this but being cancelled")

    def holders(self) -> Iterator[Held]:
        """What programs hold by streams that are open, with the Trust they were told; for citadel."""
        return self._identities.holders()

    def clock_was_set(self) -> None:
        """Ages of certificates are looked at again."""
        self._identities.clock_was_set()

    def authority_is_back(self) -> None:
        """What could not be had is asked for again."""
        self._identities.authority_is_back()

    async def open(self, pod: PodRef, network: int) -> None:
        """The pod's programs are answered at its socket; `network` is a descriptor of the pod's network namespace, still the caller's."""
        if pod.uid in self._pods:
            return
        directory = self._places.workload_run(pod.uid)
        listener = await asyncio.to_thread(_listen, directory)
        space = os.dup(network)
        self._pods[pod.uid] = asyncio.create_task(self._serve_pod(pod, listener, space), name=f"workload-api:{pod.full_name}")

    async def close(self, uid: str) -> None:
        """Nothing of the pod is served, remembered or left in the file system."""
        await self._end((uid,))
        self._identities.forget(lambda claim: getattr(claim.subject, "uid", None) == uid)
        await asyncio.to_thread(shutil.rmtree, self._places.workload_run(uid), ignore_errors=True)

    async def _end(self, uids: tuple[str, ...]) -> None:
        tasks = [task for uid in uids if (task := self._pods.pop(uid, None)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- pods

    async def _serve_pod(self, pod: PodRef, listener: socket.socket, network: int) -> None:
        try:
            with listener:
                await accept_forever(listener, lambda connection: self._take(pod, network, connection))
        finally:
            os.close(network)

    async def _take(self, pod: PodRef, network: int, connection: socket.socket) -> None:
        try:
            with self._front.place(pod.uid):
                peer = admit(connection, PodSpace(network, await self._first_processes(pod.uid)))
                await self._front.carry(connection, peer.pidfd, PodCaller(pod, peer.pidfd))
        except (Crowded, Refused) as exc:
            _log.warning("a connection to a pod's Workload API is refused", pod=pod.full_name, reason=str(exc))

    async def _first_processes(self, uid: str) -> tuple[int, ...]:
        """Of the pod's containers: what the launcher started for it in a PID namespace of its own, which Envoy was not."""
        own = f"{uid}/"
        return tuple(each.pid for each in await self._launcher.processes(own) if each.running and each.name != own + SIDECAR)

    # --- the machine

    async def _serve_machine(self) -> None:
        channel = await self._launcher.kept_socket(DOOR)
        if channel is None:
            _log.info("there is no door: processes that are in no pod get no identity")
            return
        async with asyncio.TaskGroup() as tasks:
            door: Door = Door(socket.socket(fileno=channel), lambda arrival: self._arrived(arrival, door, tasks))
            await door.run()

    def _arrived(self, arrival: Arrival, door: Door, tasks: asyncio.TaskGroup) -> None:
        try:
            tasks.create_task(self._carry(arrival, EntryCaller(arrival, door, self._entries.current)), name="workload-api:arrival")
        except RuntimeError:
            close_arrival(arrival)  # the group is ending

    async def _carry(self, arrival: Arrival, caller: EntryCaller) -> None:
        try:
            with self._front.place(f"user {arrival.uid}"):
                await self._front.carry(arrival.connection, arrival.pidfd, caller)
        except Crowded as exc:
            _log.warning("a connection to the machine's Workload API is refused", uid=arrival.uid, reason=str(exc))
            close_arrival(arrival)
        except Exception:
            # One caller's trouble is not the others'.
            _log.exception("a connection failed", uid=arrival.uid)


def _listen(directory: Path) -> socket.socket:
    """A socket that everybody who sees its directory may connect to: the pod's programs, whatever user they are, and nobody else."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Not removed with what is in it: containers that run have this very directory bound into their view.
    directory.chmod(0o755)
    listener = listen(directory / SOCKET)
    try:
        (directory / SOCKET).chmod(0o666)
    except BaseException:
        listener.close()
        raise
    return listener
