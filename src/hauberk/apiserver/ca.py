"""The certificate authority over the API: how it is, exchanging its keys, certificates for programs outside, one certificate told."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.ca_revocations import called_by
from hauberk.apiserver.mesh import absent_part
from hauberk.apiserver.parts import AuthorityRefused, CertificateAuthority
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts

_NO_ROTATION: dict[str, Any] = {"stage": "none", "steps": []}


class RotateRequest(Body):
    """`root`: the trust anchor itself, not only the issuing key; `abort`: the exchange of it that is going on goes back."""

    root: bool = False
    abort: bool = False


class OutsideRequest(Body):
    """A certificate for a ServiceAccount, held by a program outside the mesh. `lifetime`: seconds; absent: the mesh's own."""

    namespace: str
    service_account: str
    csr: str
    lifetime: int | None = None


async def get_authority(request: Request) -> Response:
    """GET /v1/ca: all authorities, agents, and what should be done."""
    return JSONResponse(_authority(request).overview())


async def post_rotate(request: Request) -> Response:
    """POST /v1/ca/rotate: a new issuing key signs already; an exchange of the root has begun, and goes on after the answer."""
    authority, asked, by = _authority(request), await read_request(request, RotateRequest), called_by(request)
    try:
        if asked.abort:
            return JSONResponse(await authority.abort_rotation(by))
        return JSONResponse(await (authority.rotate_root(by) if asked.root else authority.rotate(by)))
    except AuthorityRefused as refused:
        raise _refused(refused) from refused


async def get_rotation(request: Request) -> Response:
    """GET /v1/ca/rotation: the exchange of the root that is going on, or the last one."""
    return JSONResponse(_authority(request).rotation() or _NO_ROTATION)


async def post_certificate(request: Request) -> Response:
    """POST /v1/ca/certificates: the certificate, its chain without the root, and the roots."""
    authority, asked = _authority(request), await read_request(request, OutsideRequest)
    try:
        issued = await authority.issue_outside(
            asked.csr, namespace=asked.namespace, service_account=asked.service_account, seconds=asked.lifetime, by=called_by(request)
        )
    except AuthorityRefused as refused:
        raise _refused(refused) from refused
    return JSONResponse(issued)


async def get_certificate(request: Request) -> Response:
    """GET /v1/ca/certificates?pod=NS/NAME or ?serial=HEX: one certificate and what hangs on it."""
    pod, serial = request.query_params.get("pod", ""), request.query_params.get("serial", "")
    if bool(pod) == bool(serial):
        raise Refused(422, problem("HBK0505", "name either a pod (namespace/name) or a serial", remedy="give ?pod= or ?serial="))
    found = _authority(request).certificate(pod=pod, serial=serial)
    if found is None:
        what = f"pod {pod} has no certificate" if pod else f"no certificate with serial {serial} is remembered"
        raise Refused(404, problem("HBK0501", what, remedy="certificates are remembered until a day after their end"))
    return JSONResponse(found)


ROUTES = (
    Route("/v1/ca", get_authority, methods=["GET"]),
    Route("/v1/ca/rotate", post_rotate, methods=["POST"]),
    Route("/v1/ca/rotation", get_rotation, methods=["GET"]),
    Route("/v1/ca/certificates", post_certificate, methods=["POST"]),
    Route("/v1/ca/certificates", get_certificate, methods=["GET"]),
)


def _authority(request: Request) -> CertificateAuthority:
    found = parts(request).ca
    if found is None:
        raise absent_part("the certificate authority")
    return found


def _refused(refused: AuthorityRefused) -> Refused:
    return Refused(refused.status, problem("HBK0721", str(refused), remedy=refused.remedy))
