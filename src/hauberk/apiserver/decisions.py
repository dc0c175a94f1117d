"""Whether connections that are open may go on; asked by the agents, whose sidecars took them under a policy that has changed since."""

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.metadata import ObjectKey
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.state import parts


class Asked(Body):
    """One connection. `identity`: the caller's SPIFFE ID, empty without mutual TLS."""

    identity: str = ""
    address: str
    destination: str
    port: int = Field(ge=0, le=65535)
    server_name: str = ""


class DecisionsRequest(Body):
    """Connections of bytes to the pod."""

    namespace: str
    pod: str
    connections: tuple[Asked, ...] = Field(max_length=100_000)


async def post_decisions(request: Request) -> Response:
    """POST /v1/decisions: `allowed`, for each connection in the order in which they were named."""
    asked = await read_request(request, DecisionsRequest)
    return answer(request, asked)


def answer(request: Request, asked: DecisionsRequest) -> Response:
    """What policy says to each."""
    pilot = parts(request).pilot
    if pilot is None:
        raise absent_part("decisions")
    allowed = pilot.judge(ObjectKey("Pod", asked.namespace, asked.pod), [each.model_dump() for each in asked.connections])
    # Not ready: whoever asks comes again.
    return JSONResponse({"allowed": allowed}, status_code=503 if allowed is None else 200)


ROUTES = (Route("/v1/decisions", post_decisions, methods=["POST"]),)
