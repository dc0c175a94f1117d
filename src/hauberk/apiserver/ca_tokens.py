"""What checks tokens, over the API: the same documents that the outside may fetch, if a listener for it is set."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.ca_revocations import called_by
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import TokenKeys
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts


async def get_discovery(request: Request) -> Response:
    """GET /v1/ca/openid-configuration: OpenID Connect's discovery document."""
    document = _keys(request).discovery()
    if document is None:
        remedy = "set HAUBERK_JWT_ISSUER to the URL below which the outside finds it, and start the mesh anew"
        raise Refused(404, problem("HBK0501", "tokens of this mesh name no issuer, so there is no discovery document", remedy=remedy))
    return JSONResponse(document)


async def get_keys(request: Request) -> Response:
    """GET /v1/ca/jwks.json: the keys."""
    return JSONResponse(_keys(request).keys())


async def post_rotate(request: Request) -> Response:
    """POST /v1/ca/jwks/rotate: another key is published, and will sign when everybody can know it."""
    return JSONResponse(await _keys(request).rotate(called_by(request)))


ROUTES = (
    Route("/v1/ca/openid-configuration", get_discovery, methods=["GET"]),
    Route("/v1/ca/jwks.json", get_keys, methods=["GET"]),
    Route("/v1/ca/jwks/rotate", post_rotate, methods=["POST"]),
)


def _keys(request: Request) -> TokenKeys:
    found = parts(request).tokens
    if found is None:
        raise absent_part("tokens")
    return found
