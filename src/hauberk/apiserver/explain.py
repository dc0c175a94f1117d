"""Questions about requests: of the mesh as it is, as it was, and about requests that have happened."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.problem import problem
from hauberk.api.service_account import ServiceAccount
from hauberk.apiserver.body import Body, read_request
from hauberk.apiserver.history import read_moment, timestamp
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import Parts, parts
from hauberk.explain.ask import read_question
from hauberk.explain.explain import explain
from hauberk.explain.explanation import Explanation
from hauberk.explain.holding import PENDING, doubted, doubts_of
from hauberk.explain.question import Question, Unanswerable
from hauberk.explain.record import explain_record, told_by_record
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.sources.history import Past

LARGEST: Final = 1024 * 1024  # bytes: a request as large as a sidecar takes, also in escapes of JSON, and much more of claims

_MOMENT: Final = 1.0  # seconds


class ExplainRequest(Body):
    """Either a `question`, at a time if `at` is given, or an access record as the agent tells it."""

    question: dict[str, Any] | None = None
    at: str | None = None
    record: dict[str, Any] | None = None


async def explain_request(request: Request) -> Response:
    """POST /v1/explain."""
    found, asked = parts(request), await read_request(request, ExplainRequest, limit=LARGEST)
    if (asked.question is None) == (asked.record is None):
        raise Refused(400, problem("HBK0505", "explain takes either a question or a record", remedy="send one of them"))
    try:
        if asked.record is not None:
            return JSONResponse(await _after_the_fact(found, asked.record))
        return JSONResponse(await _answer(found, read_question(asked.question or {}), asked.at))
    except Unanswerable as error:
        raise Refused(422, problem("HBK0505", str(error), remedy=error.remedy)) from error


async def _answer(found: Parts, question: Question, at: str | None) -> dict[str, Any]:
    if at is None:
        document = (await _predicted(found, question)).to_json()
        return {**document, "warnings": [*document["warnings"], *_doubts(found, question)]}
    past = await found.store.past(read_moment(at))
    document = await asyncio.to_thread(lambda: explain(_past(found, past), question, now=past.moment).to_json())
    return {**document, **_told(past)}


async def _predicted(found: Parts, question: Question) -> Explanation:
    """What the sidecars do by what they hold; a push that is under way is over in a moment, and waited for."""
    explanation, doubts = await _present_answer(found, question)
    if PENDING in doubts.values() and found.pilot is not None:
        await found.pilot.wait(found.store.revision, _MOMENT)
        explanation, doubts = await _present_answer(found, question)
    return doubted(explanation, doubts)


async def _present_answer(found: Parts, question: Question) -> tuple[Explanation, Mapping[str, str]]:
    snapshot, now = _present(found), found.clock.now()
    # In a thread: among thousands of policies it takes a second to say of each why it does not match.
    explanation = await asyncio.to_thread(lambda: explain(snapshot, question, now=now))
    return explanation, doubts_of(explanation, found.pilot.proxies() if found.pilot is not None else ())


async def _after_the_fact(found: Parts, record: dict[str, Any]) -> dict[str, Any]:
    past = await found.store.past(_time_of(record))

    def answer() -> dict[str, Any]:
        snapshot = _past(found, past)
        try:
            return {**explain_record(snapshot, record).to_json(), **_told(past)}
        except Unanswerable as error:
            document = told_by_record(record).to_json()
            return {**document, "warnings": [f"{error}: all that is known is what the record tells"], **_told(past)}

    return await asyncio.to_thread(answer)


def _present(found: Parts) -> MeshSnapshot:
    """The mesh as proxies are told it; where there are none, as the objects describe it."""
    snapshot = found.pilot.snapshot if found.pilot is not None else None
    return snapshot or build_snapshot(found.store.list().items, None)


def _past(found: Parts, past: Past) -> MeshSnapshot:
    present = found.pilot.snapshot if found.pilot is not None else None
    return build_snapshot(past.objects, None, present.settings if present is not None else None)


def _doubts(found: Parts, question: Question) -> list[str]:
    """A caller whom nobody has declared may be a typing error."""
    namespace, slash, account = question.source.partition("/")
    if not slash or ":" in namespace or namespace in ("pod", "po") or question.trust_domain:
        return []
    known = found.store.find(ServiceAccount, namespace, account) is not None
    return [] if known else [f"there is no ServiceAccount {account} in namespace {namespace}: nothing can call as {question.source}"]


def _told(past: Past) -> dict[str, Any]:
    return {"objectsAt": timestamp(past.moment), **({} if past.complete else {"objectsComplete": False})}


def _time_of(record: dict[str, Any]) -> datetime:
    return read_moment(str(record.get("time") or ""))


ROUTES = (Route("/v1/explain", explain_request, methods=["POST"]),)
