"""The one method that a machine without a certificate can call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from hauberk.citadel.join import Machines
from hauberk.citadel.service import GRACE_SECONDS, refuse
from hauberk.identity.wire import JOIN, SERVICE, JoinRequest

# A token, a name and a request for a certificate; whatever is longer is not looked at.
LONGEST_REQUEST: Final = 32 * 1024
_CALLS_AT_ONCE: Final = 64
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", LONGEST_REQUEST),
    ("grpc.max_concurrent_streams", 8),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
)


@asynccontextmanager
async def serving(machines: Machines, path: Path) -> AsyncIterator[None]:
    """Machines can join by a call to `path` meanwhile."""

    async def join(request: bytes, context: Any) -> bytes:
        try:
            return (await machines.join(JoinRequest.decode(request))).encode()
        except Exception as exc:  # what is not ours is raised again
            await refuse(context, exc)

    handlers = grpc.method_handlers_generic_handler(SERVICE, {JOIN: grpc.unary_unary_rpc_method_handler(join)})
    await asyncio.to_thread(path.unlink, missing_ok=True)
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CALLS_AT_ONCE)
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(GRACE_SECONDS)
