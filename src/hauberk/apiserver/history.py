"""What was so, and who made it so: versions of objects, and all objects of a moment."""

import json
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.document import to_document
from hauberk.api.problem import problem
from hauberk.apiserver.lookup import find_kind
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import parts
from hauberk.kit.clock import parse_timestamp
from hauberk.sources.history import Version

_MOST = 1_000  # versions told at once
_SHOWN = 40  # characters of a mistake that are repeated to who made it


async def get_versions(request: Request) -> Response:
    """GET /v1/history: versions, newest first; `kind`, `namespace`, `name` and `limit` narrow them down."""
    asked = request.query_params
    kind = find_kind(asked["kind"]).name if asked.get("kind") else None
    limit = asked.get("limit", "100")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and int(limit)):
        raise Refused(400, problem("HBK0505", f"limit: {limit[:_SHOWN]!r} is not a positive number", remedy="use a number"))
    found = await parts(request).store.versions(kind, asked.get("namespace"), asked.get("name"), limit=min(int(limit), _MOST))
    return JSONResponse({"versions": [version_document(each) for each in found]})


async def get_past(request: Request) -> Response:
    """GET /v1/history/objects?at=TIME: the objects that matter to decisions, as they were then."""
    past = await parts(request).store.past(read_moment(request.query_params.get("at", "")))
    items = [to_document(each) for each in past.objects]
    return JSONResponse({"apiVersion": "v1", "kind": "List", "at": timestamp(past.moment), "complete": past.complete, "items": items})


def version_document(version: Version) -> dict[str, Any]:
    """One version; what it was before is the version before it."""
    return {
        "kind": version.key.kind,
        "namespace": version.key.namespace,
        "name": version.key.name,
        "event": version.event.value,
        "author": version.author or "the mesh",
        "revision": version.revision,
        "since": timestamp(version.since),
        "until": None if version.until is None else timestamp(version.until),
        "object": json.loads(version.document),
    }


def read_moment(text: str) -> datetime:
    """A moment as a request names it; 400 if it is none."""
    try:
        return parse_timestamp(text)
    except (ValueError, OverflowError) as error:
        message = f"{text[:_SHOWN]!r} is no time" if text else "at which time?"
        raise Refused(400, problem("HBK0505", message, remedy="give a time such as 2026-07-01T12:00:00Z")) from error


def timestamp(moment: datetime) -> str:
    """The moment in JSON."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


ROUTES = (
    Route("/v1/history", get_versions, methods=["GET"]),
    Route("/v1/history/objects", get_past, methods=["GET"]),
)
