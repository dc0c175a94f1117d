"""The mesh beside its objects: status and names."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hauberk.api.problem import problem
from hauberk.apiserver.lookup import flag
from hauberk.apiserver.reading import JSON_LINES
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import Parts, parts, until


async def get_ready(request: Request) -> Response:
    """GET /v1/readyz: proxies can be served."""
    ready = is_ready(parts(request))
    return JSONResponse({"ready": ready}, status_code=200 if ready else 503)


async def get_status(request: Request) -> Response:
    """GET /v1/status: the control plane's part of `status -o json`."""
    found = parts(request)
    uptime = round(found.clock.monotonic() - found.started, 3)
    plane = {"ready": is_ready(found), "version": found.version, "uptimeSeconds": uptime, "revision": str(found.store.revision)}
    problems = [] if found.pilot is None else [each.to_json() for each in found.pilot.problems]
    proxies = [] if found.pilot is None else list(found.pilot.proxies())
    # What is on other machines, nobody but the control plane is there to say.
    agents = [] if found.machines is None else list(found.machines.agents())
    if found.machines is not None:
        proxies = [{**each, **found.machines.proxy(str(each.get("namespace")), str(each.get("pod")))} for each in proxies]
    issuers = [] if found.issuers is None else list(found.issuers.issuers())
    return JSONResponse({"controlPlane": plane, "agents": agents, "proxies": proxies, "problems": problems, "issuers": issuers})


def is_ready(found: Parts) -> bool:
    """Whether all that this control plane consists of can do its work."""
    return found.pilot is None or found.pilot.ready


async def get_names(request: Request) -> Response:
    """GET /v1/names: the table, or with watch=true whole tables as lines."""
    found = parts(request)
    if found.names is None:
        raise absent_part("names")
    return stream(found, found.names.tables()) if flag(request, "watch") else JSONResponse(found.names.table())


def stream(found: Parts, documents: AsyncIterator[Mapping[str, Any]]) -> Response:
    """Each document as a line, as they come."""
    return StreamingResponse(until(found.ending, lines(documents)), media_type=JSON_LINES)


async def lines(documents: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """One JSON document a line."""
    async for document in documents:
        yield json.dumps(document, separators=(",", ":")).encode() + b"\n"


def absent_part(what: str) -> Refused:
    """501: this control plane runs without that part."""
    return Refused(501, problem("HBK0505", f"this control plane does not serve {what}", remedy="start it with all its parts"))
