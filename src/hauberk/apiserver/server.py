"""The API on a Unix socket, served until cancelled."""

import asyncio
import json
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn.server import ServerState

from hauberk.api.problem import problem
from hauberk.apiserver import (
    analysis,
    ca,
    ca_bundle,
    ca_federation,
    ca_import,
    ca_nodes,
    ca_revocations,
    ca_tokens,
    decisions,
    explain,
    history,
)
from hauberk.apiserver.mesh import get_names, get_ready, get_status
from hauberk.apiserver.reading import get_object, get_objects
from hauberk.apiserver.refusal import HANDLERS
from hauberk.apiserver.state import Parts
from hauberk.apiserver.together import apply_files, delete_objects
from hauberk.apiserver.writing import delete_object, patch_object, patch_status
from hauberk.kit.unix_server import allowed_users, listen, protocol_for

GRACE_SECONDS = 3  # for requests that are being answered when the server is asked to end

_STRANGER = json.dumps({"problems": [problem("HBK0506", "this mesh was started by another user").to_json()]}).encode()
_OBJECT = "/v1/objects/{plural}/{namespace}/{name}"
ROUTES = (
    Route("/v1/objects/{plural}", get_objects, methods=["GET"]),
    Route(_OBJECT, get_object, methods=["GET"]),
    Route(_OBJECT, patch_object, methods=["PATCH"]),
    Route(_OBJECT, delete_object, methods=["DELETE"]),
    Route(_OBJECT + "/status", patch_status, methods=["PATCH"]),
    Route("/v1/apply", apply_files, methods=["POST"]),
    Route("/v1/delete", delete_objects, methods=["POST"]),
    Route("/v1/status", get_status, methods=["GET"]),
    Route("/v1/readyz", get_ready, methods=["GET"]),
    Route("/v1/names", get_names, methods=["GET"]),
    *analysis.ROUTES,
    *ca.ROUTES,
    *ca_bundle.ROUTES,
    *ca_federation.ROUTES,
    *ca_import.ROUTES,
    *ca_nodes.ROUTES,
    *ca_revocations.ROUTES,
    *ca_tokens.ROUTES,
    *decisions.ROUTES,
    *explain.ROUTES,
    *history.ROUTES,
)


def build_app(parts: Parts) -> Starlette:
    """The API as an ASGI application."""
    app = Starlette(routes=list(ROUTES), exception_handlers=HANDLERS)
    app.state.parts = parts
    return app


async def serve(parts: Parts, path: Path) -> None:
    """Answers on the socket until cancelled; then closes streams in order and lets running requests end."""
    await serve_app(build_app(parts), parts, path)


async def serve_app(app: Starlette, parts: Parts, path: Path) -> None:
    """The same for any application made of `parts`."""
    answering = protocol_for(allowed_users(), _STRANGER)
    config = uvicorn.Config(app, http=answering, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()

    def protocol() -> asyncio.Protocol:
        return answering(config, state, {})

    # uvicorn's protocol, but not its server: that one owns the process's signals, and looks ten times a second whether to end.
    listening = await asyncio.get_running_loop().create_server(protocol, sock=listen(path))
    try:
        await asyncio.Event().wait()
    finally:
        listening.close()
        parts.ending.set()
        await _finish(state)


async def _finish(state: ServerState) -> None:
    """Every connection is closed: at once if it is idle, else when its request is answered, or when patience is over."""
    for connection in list(state.connections):
        connection.shutdown()
    if state.tasks:
        _, late = await asyncio.wait(state.tasks, timeout=GRACE_SECONDS)
        for task in late:
            task.cancel()
