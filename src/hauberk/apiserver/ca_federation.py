"""Federated trust domains over the API: which there are, one more, one less."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.ca_revocations import called_by
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import Federator
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts

PATH = "/v1/ca/federation"


class FederationRequest(Body):
    """A domain to be federated. `bundle`: its bundle as it was handed over, a SPIFFE document or PEM; `url`: where newer ones come from."""

    trust_domain: str
    url: str = ""
    profile: str = ""
    endpoint_id: str = ""
    bundle: str | None = None


class EndRequest(Body):
    """A domain that is to be believed no more."""

    trust_domain: str


async def get_federation(request: Request) -> Response:
    """GET /v1/ca/federation: all, with how it went last."""
    return JSONResponse(_federator(request).federation())


async def post_federation(request: Request) -> Response:
    """POST /v1/ca/federation: the domain is federated when this is answered, and on its way to every proxy."""
    federator, asked = _federator(request), await read_request(request, FederationRequest)
    try:
        done = await federator.federate(
            trust_domain=asked.trust_domain,
            url=asked.url,
            profile=asked.profile,
            endpoint_id=asked.endpoint_id,
            bundle=asked.bundle,
            by=called_by(request),
        )
    except ValueError as error:
        raise Refused(422, problem("HBK0505", str(error), remedy=str(getattr(error, "hint", "")))) from error
    return JSONResponse(done)


async def delete_federation(request: Request) -> Response:
    """DELETE /v1/ca/federation: nobody of the domain is believed any more."""
    federator, asked = _federator(request), await read_request(request, EndRequest)
    if not await federator.remove(asked.trust_domain, called_by(request)):
        message = f"trust domain {asked.trust_domain[:80]} is not federated"
        raise Refused(404, problem("HBK0501", message, remedy="see `hauberk ca federate`"))
    return JSONResponse({"trustDomain": asked.trust_domain})


ROUTES = (
    Route(PATH, get_federation, methods=["GET"]),
    Route(PATH, post_federation, methods=["POST"]),
    Route(PATH, delete_federation, methods=["DELETE"]),
)


def _federator(request: Request) -> Federator:
    found = parts(request).federator
    if found is None:
        raise absent_part("federation")
    return found
