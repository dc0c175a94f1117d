"""The agent's HTTP interface on a Unix socket: pods, logs, Envoys, records."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hauberk.agent.access_query import read_query
from hauberk.agent.agent_status import build_status, describe_pod
from hauberk.agent.envoy_admin import AdminUnreachable
from hauberk.agent.log_files import ContainerLog
from hauberk.agent.log_stream import follow, read_tail
from hauberk.agent.pod_life import PodLife
from hauberk.agent.pods import Pods
from hauberk.agent.program import SIDECAR
from hauberk.agent.records import Records
from hauberk.agent.sidecar import Sidecars, SidecarUnknown
from hauberk.api.problem import problem
from hauberk.kit.clock import Clock
from hauberk.kit.unix_server import allowed_users, listen, protocol_for
from hauberk.telemetry.record import AccessRecord
from hauberk.telemetry.store import RecordQuery

_GRACE_SECONDS: Final = 1
_COUNT: Final = re.compile(r"[0-9]{1,12}")
_LINES: Final = "application/x-ndjson"
_STRANGER: Final = json.dumps({"problems": [problem("HBK0506", "this mesh was started by another user").to_json()]}).encode()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the routes answer from."""

    pods: Pods
    sidecars: Sidecars
    records: Records
    clock: Clock
    node: str
    problem: Callable[[], str] = lambda: ""  # why this machine is cut off from its mesh


class Refused(Exception):
    """The request is not carried out."""

    def __init__(self, status: int, code: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem(code, message, remedy=remedy) if remedy else problem(code, message)


async def _refuse(_: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return JSONResponse({"problems": [refused.problem.to_json()]}, status_code=refused.status)


async def get_status(request: Request) -> Response:
    """The agent's half of `hauberk status`."""
    parts = _parts(request)
    pods = parts.pods
    counts, state = parts.records.counts, parts.sidecars.state
    return JSONResponse(build_status(parts.node, pods.all(), state, counts, settled=pods.settled, problem=parts.problem()))


async def get_pods(request: Request) -> Response:
    """The pods of this machine."""
    parts = _parts(request)
    return JSONResponse({"items": [describe_pod(life, parts.sidecars.state(life.pod.metadata.uid)) for life in parts.pods.all()]})


async def get_logs(request: Request) -> Response:
    """The log of a container or of the Envoy: all of it or its tail, and on request what comes."""
    life, query = _pod(request), request.query_params
    log = _log(life, query.get("container"), proxy=_flag(request, "proxy"))
    tail = query.get("tail")
    if tail is not None and not _COUNT.fullmatch(tail):
        raise Refused(400, "HBK0505", f"tail: {tail[:40]!r} is not a number of lines")
    lines = int(tail) if tail is not None else None
    if _flag(request, "previous"):
        if not log.previous.exists():
            raise Refused(404, "HBK0501", f"{life.pod.key} has not been restarted: there is no previous log")
        return StreamingResponse(read_tail((), log.previous, lines), media_type="text/plain; charset=utf-8")
    if _flag(request, "follow"):
        return StreamingResponse(follow(log.older(), log.current, lines), media_type="text/plain; charset=utf-8")
    return StreamingResponse(read_tail(log.older(), log.current, lines), media_type="text/plain; charset=utf-8")


async def ask_envoy(request: Request) -> Response:
    """The answer of a pod's Envoy to a request to its admin interface."""
    life = _pod(request)
    path = "/" + request.path_params["path"] + (f"?{request.url.query}" if request.url.query else "")
    try:
        status, body = await _parts(request).sidecars.admin(life.pod.metadata.uid, request.method, path)
    except SidecarUnknown:
        raise Refused(404, "HBK0501", f"{life.pod.key} has no sidecar") from None
    except AdminUnreachable as exc:
        raise Refused(503, "HBK0501", f"the Envoy of {life.pod.key} does not answer: {exc}", "see `hauberk logs --proxy`") from exc
    except ValueError as exc:
        raise Refused(400, "HBK0505", str(exc)) from exc
    return Response(body, status_code=status, media_type="application/json" if body[:1] in (b"{", b"[") else "text/plain; charset=utf-8")


async def get_access(request: Request) -> Response:
    """Access records as JSON lines: the newest, oldest of them first; and on request those that come."""
    parts = _parts(request)
    try:
        query = read_query(request.query_params, parts.clock.now())
    except ValueError as exc:
        raise Refused(400, "HBK0505", str(exc)) from exc
    if _flag(request, "follow"):
        return StreamingResponse(_found_and_following(parts.records, query), media_type=_LINES)
    found = await parts.records.query(query)
    return Response(b"".join(_line(record.to_document()) for record in found), media_type=_LINES)


ROUTES: Final = (
    Route("/v1/status", get_status, methods=["GET"]),
    Route("/v1/pods", get_pods, methods=["GET"]),
    Route("/v1/pods/{namespace}/{name}/logs", get_logs, methods=["GET"]),
    Route("/v1/pods/{namespace}/{name}/envoy/{path:path}", ask_envoy, methods=["GET", "POST"]),
    Route("/v1/access", get_access, methods=["GET"]),
)


def build_app(parts: Parts) -> Starlette:
    """The interface as an ASGI application."""
    app = Starlette(routes=list(ROUTES), exception_handlers={Refused: _refuse})
    app.state.parts = parts
    return app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has one owner of signals, and it is not the web server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(parts: Parts, path: Path) -> None:
    """Answers on the socket at `path` until cancelled."""
    config = uvicorn.Config(
        build_app(parts),
        http=protocol_for(allowed_users(), _STRANGER),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config)
    with listen(path) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="agent-http")
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await asyncio.wait({serving}, timeout=_GRACE_SECONDS + 1)


async def _found_and_following(records: Records, query: RecordQuery) -> AsyncIterator[bytes]:
    """What there is already, and then what comes: nothing is left out between the two, and nothing said twice."""
    async with contextlib.aclosing(cast("AsyncGenerator[AccessRecord, None]", records.following(query))) as following:
        # Following begins before the search, so that both together miss nothing; what both have seen is left out once.
        first = asyncio.ensure_future(anext(following))
        try:
            await asyncio.sleep(0)
            found = [_line(record.to_document()) for record in await records.query(query)]
            for line in found:
                yield line
            twice = set(found)
            if (line := _line((await first).to_document())) not in twice:
                yield line
            async for record in following:
                if (line := _line(record.to_document())) not in twice:
                    yield line
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _pod(request: Request) -> PodLife:
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    life = _parts(request).pods.find(namespace, name)
    if life is None:
        raise Refused(404, "HBK0501", f"this machine has no pod {namespace}/{name}", "see `hauberk get pods -A`")
    return life


def _log(life: PodLife, container: str | None, *, proxy: bool) -> ContainerLog:
    if proxy:
        return ContainerLog(life.logs, SIDECAR)
    found = life.container(container)
    if found is None:
        raise Refused(404, "HBK0501", f"{life.pod.key} has no container {container!r}")
    return found.log


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1")
