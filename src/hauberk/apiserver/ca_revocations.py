"""Revocations over the API: what is revoked, revoking, and taking it back."""

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import Revoker
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts
from hauberk.kit.unix_server import PEER

PATH = "/v1/ca/revocations"
_LONGEST_REASON = 500
_LONGEST_WAIT = 3600.0


class RevocationRequest(Body):
    """What is to be revoked, or not any more: exactly one of the first three. `wait`: seconds for every proxy to confirm."""

    pod: str = ""
    serial: str = ""
    identity: str = ""
    reason: str = ""
    wait: float = Field(default=0.0, ge=0.0, le=_LONGEST_WAIT)


async def get_revocations(request: Request) -> Response:
    """GET /v1/ca/revocations: all, the oldest first."""
    return JSONResponse(_revoker(request).revocations())


async def post_revocation(request: Request) -> Response:
    """POST /v1/ca/revocations: it is revoked when this is answered, and on its way to every proxy."""
    revoker, asked = _revoker(request), await read_request(request, RevocationRequest)
    if len(asked.reason) > _LONGEST_REASON:
        raise _invalid(f"the reason is longer than {_LONGEST_REASON} characters")
    try:
        done = await revoker.revoke(
            pod=asked.pod, serial=asked.serial, identity=asked.identity, reason=asked.reason, by=called_by(request), wait=asked.wait
        )
    except ValueError as error:
        raise _invalid(str(error)) from error
    except LookupError as error:
        raise _absent(error) from error
    return JSONResponse(done)


async def delete_revocation(request: Request) -> Response:
    """DELETE /v1/ca/revocations: it is not revoked any more."""
    revoker, asked = _revoker(request), await read_request(request, RevocationRequest)
    try:
        return JSONResponse(
            await revoker.undo(pod=asked.pod, serial=asked.serial, identity=asked.identity, by=called_by(request), wait=asked.wait)
        )
    except ValueError as error:
        raise _invalid(str(error)) from error
    except LookupError as error:
        raise _absent(error) from error


ROUTES = (
    Route(PATH, get_revocations, methods=["GET"]),
    Route(PATH, post_revocation, methods=["POST"]),
    Route(PATH, delete_revocation, methods=["DELETE"]),
)


def called_by(request: Request) -> str:
    """Who calls, as the kernel says: `uid 1000`, as the machine counts its users."""
    client = request.client
    return f"{PEER} {client.port}" if client is not None and client.host == PEER else ""


def _revoker(request: Request) -> Revoker:
    found = parts(request).revoker
    if found is None:
        raise absent_part("revocations")
    return found


def _invalid(why: str) -> Refused:
    return Refused(422, problem("HBK0505", why, remedy="name a pod (namespace/name), a serial or a SPIFFE ID"))


def _absent(error: LookupError) -> Refused:
    return Refused(404, problem("HBK0501", str(error), remedy="see `hauberk ca revoke --list`"))
