"""Our own trust bundle over the API."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts

PATH = "/v1/ca/bundle"
_TYPES = {"spiffe": "application/json", "pem": "application/x-pem-file"}


async def get_bundle(request: Request) -> Response:
    """GET /v1/ca/bundle?format=spiffe|pem: public keys, for whoever is to believe this mesh."""
    found = parts(request).federator
    if found is None:
        raise absent_part("trust bundles")
    form = request.query_params.get("format", "spiffe")
    if form not in _TYPES:
        raise Refused(400, problem("HBK0505", f"{form[:40]!r} is no format of a bundle", remedy="use format=spiffe or format=pem"))
    return Response(found.bundle(form), media_type=_TYPES[form])


ROUTES = (Route(PATH, get_bundle, methods=["GET"]),)
