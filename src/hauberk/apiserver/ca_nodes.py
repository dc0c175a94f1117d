"""Other machines over the API: tokens for joining, which have joined, and banning them."""

from collections.abc import Awaitable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import Machines
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts

_LONGEST_REASON = 500


class TokenRequest(Body):
    """Which machine is to join, and within how many seconds."""

    node: str
    ttl: float = 600.0


class BanRequest(Body):
    """Why."""

    reason: str = ""


async def create_token(request: Request) -> Response:
    """POST /v1/ca/tokens: the contents of a join file. The token in it is told this once and kept nowhere."""
    machines, asked = _machines(request), await read_request(request, TokenRequest)
    return await _answered(machines.create_token(asked.node, asked.ttl))


async def get_nodes(request: Request) -> Response:
    """GET /v1/ca/nodes: every machine that has joined or was banned, and the tokens that are still good."""
    return JSONResponse(_machines(request).nodes())


async def ban_node(request: Request) -> Response:
    """POST /v1/ca/nodes/{name}/ban: when this is answered, the machine is out and what it held is revoked."""
    machines, asked = _machines(request), await read_request(request, BanRequest)
    if len(asked.reason) > _LONGEST_REASON:
        raise _invalid(f"the reason is longer than {_LONGEST_REASON} characters")
    return await _answered(machines.ban(str(request.path_params["name"]), asked.reason))


async def readmit_node(request: Request) -> Response:
    """DELETE /v1/ca/nodes/{name}/ban: the machine may join again, with a new token; what it held stays revoked."""
    return await _answered(_machines(request).readmit(str(request.path_params["name"])))


ROUTES = (
    Route("/v1/ca/tokens", create_token, methods=["POST"]),
    Route("/v1/ca/nodes", get_nodes, methods=["GET"]),
    Route("/v1/ca/nodes/{name}/ban", ban_node, methods=["POST"]),
    Route("/v1/ca/nodes/{name}/ban", readmit_node, methods=["DELETE"]),
)


async def _answered(work: Awaitable[Mapping[str, Any]]) -> Response:
    try:
        return JSONResponse(await work)
    except PermissionError as refused:
        raise Refused(409, problem("HBK0506", str(refused), remedy="see `hauberk ca nodes`")) from refused
    except ValueError as error:
        raise _invalid(str(error)) from error
    except LookupError as error:
        raise Refused(404, problem("HBK0501", str(error), remedy="see `hauberk ca nodes`")) from error


def _machines(request: Request) -> Machines:
    found = parts(request).machines
    if found is None:
        raise absent_part("other machines")
    return found


def _invalid(why: str) -> Refused:
    return Refused(422, problem("HBK0505", why, remedy="see `hauberk ca token create --help`"))
