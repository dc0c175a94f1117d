"""Commands in pods and connections into them, asked for over a Unix socket with file descriptors: nothing is copied through here."""

import asyncio
import itertools
import json
import os
import socket
from pathlib import Path
from typing import Any, Final

from hauberk.agent.environment import ReferenceBroken
from hauberk.agent.pod_life import PodLife
from hauberk.agent.pod_socket import dial
from hauberk.agent.pods import Pods
from hauberk.agent.program import NotRunnable
from hauberk.kit.log import logger
from hauberk.kit.unix_server import allowed_users, listen, peer_uid
from hauberk.linux.failure import LaunchFailure, ProgramNotStarted
from hauberk.linux.launch import Launcher
from hauberk.linux.process import ProcessSpec

_LARGEST: Final = 256 * 1024
_DESCRIPTORS: Final = 4
_SIGNALLED: Final = 128
_AGAIN_SECONDS: Final = 0.1
_log = logger("agent.sessions")
_numbers: Final = itertools.count(1)


class SessionRefused(Exception):
    """The session cannot be had; `why` and `remedy` go to who asked."""

    def __init__(self, error: str, why: str = "", remedy: str = "", exit_code: int | None = None) -> None:
        super().__init__(error)
        self.why = why
        self.remedy = remedy
        self.exit_code = exit_code  # what the asker is to end with; None leaves it to the asker

    def to_document(self) -> dict[str, Any]:
        """The answer instead of the one that was asked for."""
        document: dict[str, Any] = {"error": str(self), "why": self.why, "remedy": self.remedy}
        return document if self.exit_code is None else document | {"exit": self.exit_code}


class Sessions:
    """Serves sessions until cancelled; one that is left by its asker is ended."""

    def __init__(self, pods: Pods, launcher: Launcher) -> None:
        self._pods = pods
        self._launcher = launcher

    async def serve(self, path: Path) -> None:
        """Answers on the socket at `path` until cancelled."""
        loop = asyncio.get_running_loop()
        with listen(path, socket.SOCK_SEQPACKET) as listener:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    try:
                        connection, _ = await loop.sock_accept(listener)
                    except OSError as exc:
                        # No descriptor left, or the asker is gone already; the pods must not suffer for it.
                        _log.warning("a session was not taken", reason=str(exc))
                        await asyncio.sleep(_AGAIN_SECONDS)
                        continue
                    tasks.create_task(self._serve_one(connection), name="session")

    async def _serve_one(self, connection: socket.socket) -> None:
        with connection:
            if peer_uid(connection) not in allowed_users():
                return
            descriptors: list[int] = []
            try:
                connection.setblocking(False)
                await _readable(connection)
                text, descriptors, flags, _ = socket.recv_fds(connection, _LARGEST, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
                if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                    raise SessionRefused("the request is too large, or has too many descriptors")  # noqa: TRY301 - they must be closed
                answer, sent = await self._answer(connection, text, descriptors)
            except SessionRefused as exc:
                answer, sent = exc.to_document(), None
            except OSError as exc:
                _log.debug("a session broke", reason=str(exc))
                return
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            _reply(connection, answer, sent)

    async def _answer(self, connection: socket.socket, text: bytes, descriptors: list[int]) -> tuple[dict[str, Any], socket.socket | None]:
        request = _parse(text)
        life = self._pods.find(str(request.get("namespace")), str(request.get("pod")))
        if life is None:
            name = f"{request.get('namespace')}/{request.get('pod')}"
            raise SessionRefused(f"this machine has no pod {name}", remedy="see `hauberk get pods -A`")
        match request.get("op"):
            case "exec":
                return {"exit": await self._exec(connection, life, request, descriptors)}, None
            case "dial":
                return {}, await self._dial(life, request)
            case other:
                raise SessionRefused(f"{other!r} is not a kind of session")

    async def _exec(self, connection: socket.socket, life: PodLife, request: dict[str, Any], descriptors: list[int]) -> int:
        container = life.container(request.get("container"))
        if container is None:
            raise SessionRefused(f"{life.pod.key} has no container {request.get('container')!r}")
        if not container.running:
            waiting = container.status.state.waiting
            why = f"{waiting.reason}: {waiting.message}".rstrip(": ") if waiting else "it has ended"
            raise SessionRefused(f"container {container.container.name} of {life.pod.key} does not run", why, "see `hauberk describe pod`")
        argv, added = request.get("argv"), request.get("env") or {}
        if not isinstance(argv, list) or not argv or not isinstance(added, dict) or len(descriptors) != 3:
            raise SessionRefused("a command and three descriptors are needed")
        try:
            environment = {**await container.environment(), **{str(name): str(value) for name, value in added.items()}}
        except (ReferenceBroken, NotRunnable) as exc:
            raise SessionRefused("the container's environment cannot be made", str(exc)) from exc
        spec = ProcessSpec(
            argv=tuple(str(each) for each in argv), env=environment, cwd="", join=container.process, tty=bool(request.get("tty"))
        )
        return await self._run(connection, f"{container.process}/exec-{os.getpid()}-{next(_numbers)}", spec, descriptors)

    async def _run(self, connection: socket.socket, name: str, spec: ProcessSpec, descriptors: list[int]) -> int:
        """The command's exit code; it is killed when the asker goes away."""
        running = asyncio.create_task(self._launcher.run(name, spec, (descriptors[0], descriptors[1], descriptors[2])), name=name)
        leaving = asyncio.create_task(_readable(connection), name="session-left")
        try:
            await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise OSError("the asker went away")
            code = os.waitstatus_to_exitcode(running.result())
        except ProgramNotStarted as exc:
            raise SessionRefused(_not_started(exc, spec.argv[0]), str(exc), exc.hint, exc.exit_code) from exc
        except LaunchFailure as exc:
            raise SessionRefused("the command could not be started", str(exc), exc.hint) from exc
        finally:
            leaving.cancel()
            running.cancel()
            await asyncio.gather(leaving, running, return_exceptions=True)
        return code if code >= 0 else _SIGNALLED - code

    async def _dial(self, life: PodLife, request: dict[str, Any]) -> socket.socket:
        port = request.get("port")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise SessionRefused(f"{port!r} is not a port")
        if not life.ground.addresses:
            raise SessionRefused(f"{life.pod.key} has no network yet", remedy="wait until it is ready")
        place = await life.ground.place()
        try:
            return await dial(place.network, place.addresses, port)
        except OSError as exc:
            raise SessionRefused(
                f"nothing answers on port {port} of {life.pod.key}", exc.strerror or str(exc), "see `hauberk logs`"
            ) from exc


def _not_started(failure: ProgramNotStarted, program: str) -> str:
    match failure.exit_code:
        case 127:
            return f"there is no program {program!r} in the pod"
        case 126:
            return f"{program!r} cannot be executed in the pod"
        case _:
            return "the command could not be started"


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _reply(connection: socket.socket, answer: dict[str, Any], sent: socket.socket | None) -> None:
    try:
        descriptors = [] if sent is None else [sent.fileno()]
        socket.send_fds(connection, [json.dumps(answer).encode()], descriptors)
    except OSError as exc:
        _log.debug("nobody waits for the answer of a session", reason=str(exc))
    finally:
        if sent is not None:
            sent.close()


def _parse(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise SessionRefused("the request is not JSON") from exc
    if not isinstance(document, dict):
        raise SessionRefused("the request is not a JSON object")
    return document
