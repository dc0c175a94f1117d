"""Requests that are not carried out: an HTTP status and the problems that say why."""

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hauberk.api.problem import Problem, problem
from hauberk.kit.durable import NotKept
from hauberk.kit.log import logger
from hauberk.sources.problems import Conflict, ResumeTooOld

_log = logger("apiserver")


class Refused(Exception):
    """The request is not carried out, and nothing of it happened."""

    def __init__(self, status: int, *problems: Problem, also: dict[str, Any] | None = None) -> None:
        super().__init__(*(each.message for each in problems))
        self.status = status
        self.problems = problems
        self.also = also or {}  # fields of the answer beside the problems


def answer(status: int, problems: Iterable[Problem], also: dict[str, Any] | None = None) -> Response:
    """The answer that carries the problems."""
    return JSONResponse({**(also or {}), "problems": [each.to_json() for each in problems]}, status_code=status)


async def refuse(_: Request, refused: Exception) -> Response:
    """The answer to a request that was refused."""
    assert isinstance(refused, Refused)
    return answer(refused.status, refused.problems, refused.also)


async def refuse_conflict(_: Request, conflict: Exception) -> Response:
    """409: somebody else was faster."""
    return answer(409, (problem("HBK0502", str(conflict)),))


async def refuse_resume(_: Request, too_old: Exception) -> Response:
    """410: list again, then watch."""
    assert isinstance(too_old, ResumeTooOld)
    return answer(410, (problem("HBK0502", str(too_old), remedy="list the objects again and watch from that resourceVersion"),))


async def refuse_write(_: Request, unwritable: Exception) -> Response:
    """507: the change could not be made durable."""
    assert isinstance(unwritable, NotKept)
    _log.error("a change could not be written", reason=str(unwritable))
    return answer(507, (problem("HBK0508", str(unwritable), remedy=unwritable.hint),))


async def refuse_unknown(request: Request, _: Exception) -> Response:
    """404 and 405: there is no such endpoint."""
    return answer(404, (problem("HBK0505", f"the API has no {request.method} {request.url.path}"),))


async def tell_bug(request: Request, bug: Exception) -> Response:
    """500: ours to repair; the log has the traceback."""
    _log.error("a request failed", method=request.method, path=request.url.path, exc_info=bug)
    message = f"the control plane itself failed: {type(bug).__name__}: {bug}"
    return answer(500, (problem("HBK0505", message, remedy="see the control plane's log; this is a bug worth reporting"),))


HANDLERS: dict[Any, Any] = {
    Refused: refuse,
    Conflict: refuse_conflict,
    ResumeTooOld: refuse_resume,
    NotKept: refuse_write,
    404: refuse_unknown,
    405: refuse_unknown,
    Exception: tell_bug,
}
