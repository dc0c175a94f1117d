"""Whether connections that are open may go on; asked by the agents, whose sidecars took them under a policy that has changed since."""

import asyncio
from collections.abc import Sequence
from typing import Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.metadata import ObjectKey
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import Pilot
from hauberk.apiserver.state import parts

MOST_CONNECTIONS: Final = 10_000  # in one question; an agent with more asks several


class AskedRequest(Body):
    """A request that was upgraded, to a WebSocket for instance. `host` and `path` are empty if they are not known.

    `client`: the address of who sent it, as trusted hops name it.
    """

    method: str
    host: str = ""
    path: str = ""
    client: str = ""


class Asked(Body):
    """One connection. `identity`: the caller's SPIFFE ID, empty without mutual TLS. `request`: what it began as, if it was upgraded."""

    identity: str = ""
    address: str
    destination: str
    port: int = Field(ge=0, le=65535)
    server_name: str = ""
    request: AskedRequest | None = None


class DecisionsRequest(Body):
    """Connections of bytes to the pod."""

    namespace: str
    pod: str
    connections: tuple[Asked, ...] = Field(max_length=MOST_CONNECTIONS)


async def post_decisions(request: Request) -> Response:
    """POST /v1/decisions: `allowed`, for each connection in the order in which they were named."""
    asked = await read_request(request, DecisionsRequest)
    return await answer(request, asked)


async def answer(request: Request, asked: DecisionsRequest) -> Response:
    """What policy says to each."""
    pilot = parts(request).pilot
    if pilot is None:
        raise absent_part("decisions")
    # In a thread: while thousands of connections are held against thousands of rules, proxies are to be served.
    allowed = await asyncio.to_thread(_judge, pilot, asked)
    # Not ready: whoever asks comes again.
    return JSONResponse({"allowed": allowed}, status_code=503 if allowed is None else 200)


def _judge(pilot: Pilot, asked: DecisionsRequest) -> Sequence[bool] | None:
    return pilot.judge(ObjectKey("Pod", asked.namespace, asked.pod), [each.model_dump() for each in asked.connections])


ROUTES = (Route("/v1/decisions", post_decisions, methods=["POST"]),)
