"""The API on a Unix socket, served until cancelled."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from hauberk.apiserver.mesh import get_names, get_ready, get_status, get_trust_bundle, issue_certificate
from hauberk.apiserver.peer import allowed_users, protocol_for
from hauberk.apiserver.reading import get_object, get_objects
from hauberk.apiserver.refusal import HANDLERS
from hauberk.apiserver.state import Parts
from hauberk.apiserver.together import apply_files, delete_objects
from hauberk.apiserver.writing import delete_object, patch_object, patch_status

BACKLOG = 256
GRACE_SECONDS = 3  # for requests that are being answered when the server is asked to end

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
    Route("/v1/certificates", issue_certificate, methods=["POST"]),
    Route("/v1/trust-bundle", get_trust_bundle, methods=["GET"]),
)


def build_app(parts: Parts) -> Starlette:
    """The API as an ASGI application."""
    app = Starlette(routes=list(ROUTES), exception_handlers=HANDLERS)
    app.state.parts = parts
    return app


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has one owner of signals, and it is not the web server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(path: Path) -> socket.socket:
    """A socket that only this user can connect to, in place of one that a killed process left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(parts: Parts, path: Path) -> None:
    """Answers on the socket until cancelled; then lets running requests end, and closes streams in order."""
    config = uvicorn.Config(
        build_app(parts),
        http=protocol_for(allowed_users()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server, listener = Server(config), listen(path)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="apiserver:uvicorn")
    try:
        await asyncio.shield(serving)
    finally:
        parts.ending.set()
        server.should_exit = True
        await serving
