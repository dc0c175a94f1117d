"""Bodies of requests: bounded, and JSON objects with the fields that an endpoint takes."""

import asyncio
import json
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request

from hauberk.api.problem import problem
from hauberk.apiserver.refusal import Refused

LIMIT = 32 * 1024 * 1024  # bytes of one request: several files of the largest size that the parser takes
DISCARDED = 512 * 1024 * 1024  # bytes that are read and thrown away so that the answer can still be heard
WORTH_A_THREAD = 256 * 1024  # bytes whose decoding would hold up everybody else

T = TypeVar("T", bound="Body")


class Body(BaseModel):
    """What an endpoint takes. Unknown fields are refused: a mistyped `dryRun` must not change the mesh."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, hide_input_in_errors=True)


async def read_body(request: Request, *, limit: int | None = None) -> bytes:
    """The bytes of the body; refused with 413 if there are more than `limit`, by itself LIMIT.

    Too large a body is read to its end all the same: a client that is cut off while it sends never sees the answer.
    """
    limit = LIMIT if limit is None else limit
    kept, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            kept += piece
        else:
            kept.clear()
            if size > DISCARDED:
                break
    if size > limit:
        raise Refused(
            413,
            problem("HBK0002", f"the request is larger than {limit // 1024 // 1024} MB", remedy="send less at once"),
        )
    return bytes(kept)


async def read_json(request: Request, *, limit: int | None = None) -> object:
    """The body as JSON."""
    text = await read_body(request, limit=limit)
    try:
        return await asyncio.to_thread(json.loads, text) if len(text) > WORTH_A_THREAD else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(400, problem("HBK0505", f"the body is not JSON: {error}", remedy="send a JSON object")) from error


async def read_request(request: Request, model: type[T], *, limit: int | None = None) -> T:
    """The body as what the endpoint takes."""
    document = await read_json(request, limit=limit)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)
        told = [f"{'.'.join(str(step) for step in each['loc']) or 'body'}: {each['msg']}" for each in found]
        raise Refused(
            400, *(problem("HBK0505", each, remedy="see the API's reference for the fields of this request") for each in told)
        ) from error
