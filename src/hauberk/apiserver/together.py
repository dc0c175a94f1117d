"""Apply and delete as requests: parse, decide, and wait for the proxies."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem, has_errors, problem
from hauberk.apiserver.analysis import rehearse
from hauberk.apiserver.apply import ApplyRequest, decide_apply, parse_files
from hauberk.apiserver.author import author_of
from hauberk.apiserver.body import read_request
from hauberk.apiserver.coherence import all_problems, quick_problems, whole_world
from hauberk.apiserver.deletion import Deleted, DeleteRequest, decide_delete, requested_keys
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import Parts, parts
from hauberk.sources.store import Store

LONGEST_NAMED = 5  # proxies that a message names one by one


async def apply_files(request: Request) -> Response:
    """POST /v1/apply."""
    found, asked = parts(request), await read_request(request, ApplyRequest)
    began = found.clock.monotonic()
    # In a thread: reading a large file must not hold up the proxies.
    wanted = await asyncio.to_thread(parse_files, asked.files, asked.namespace)
    if asked.dry_run:
        applied, world = rehearse(found, wanted)
        told = await asyncio.to_thread(all_problems, world, wanted)
        return outcome(applied.to_json(*told), Arrived(seconds=elapsed(found, began)))
    committed = await found.store.transact(lambda draft: decide_apply(draft, wanted, found.rules), author=author_of(request))
    # The proxies hear of the change while it is looked at.
    told = await asyncio.to_thread(quick_problems, whole_world(lambda kind: found.store.list(kind).items, found), wanted)
    return await arrival(found, committed.value.to_json(*told), committed.revision, asked.wait, began)


async def delete_objects(request: Request) -> Response:
    """POST /v1/delete."""
    found, asked = parts(request), await read_request(request, DeleteRequest)
    began = found.clock.monotonic()
    check_question(asked)
    wanted = await asyncio.to_thread(parse_files, asked.files, asked.namespace)
    keys, problems = requested_keys(asked, wanted)
    if problems:
        raise Refused(422, *problems, also={"deleted": []})
    now, ignore = found.now(), asked.ignore_not_found
    if asked.dry_run:
        deleted = found.store.rehearse(lambda draft: decide_delete(draft, keys, found.rules, now, ignore_absent=ignore))
        return outcome(deleted.to_json(), Arrived(seconds=elapsed(found, began)))
    committed = await found.store.transact(
        lambda draft: decide_delete(draft, keys, found.rules, now, ignore_absent=ignore), author=author_of(request)
    )
    if committed.value.problems and not committed.value.keys:
        raise Refused(404, *committed.value.problems, also={"deleted": []})
    return await departure(found, committed.value, committed.revision, asked.wait, began)


def check_question(asked: DeleteRequest) -> None:
    """Files or names, and not both."""
    if bool(asked.files) == bool(asked.kind) or bool(asked.kind) != bool(asked.names):
        raise Refused(400, problem("HBK0505", "delete takes either files, or a kind and names", remedy="name what is to be deleted"))


async def departure(found: Parts, deleted: Deleted, revision: int, wait: float | None, began: float) -> Response:
    """The answer to a delete: at once, or when the objects are gone and every proxy knows."""
    if wait is None:
        return await arrival(found, deleted.to_json(), revision, None, began)
    try:
        async with asyncio.timeout(wait):
            await gone(found.store, frozenset(deleted.uids), frozenset(key.kind for key in deleted.keys))
    except TimeoutError:
        late = problem(
            "HBK0604", f"not everything was gone after {wait:g} s", remedy="the deletion goes on; hauberk get shows what is left"
        )
        return outcome(deleted.to_json(), Arrived(seconds=elapsed(found, began)), late)
    return await arrival(found, deleted.to_json(), found.store.revision, max(wait - elapsed(found, began), 0.0), began)


async def gone(store: Store, uids: frozenset[str], kinds: frozenset[str]) -> None:
    """None of the objects exists any more."""
    revision = store.revision
    while any(item.metadata.uid in uids for kind in kinds for item in store.list(kind).items):
        revision = await store.beyond(revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """How far the change came: proxies that it concerns, those that acknowledged it, and the time it took."""

    affected: int = 0
    acknowledged: int = 0
    seconds: float


async def arrival(found: Parts, result: dict[str, Any], revision: int, wait: float | None, began: float) -> Response:
    """The answer: at once, or when every proxy concerned has answered to `revision`; 502 if some refused, 504 if some were late."""
    if wait is None or found.pilot is None:
        return outcome(result, Arrived(seconds=elapsed(found, began)))
    pushed = await found.pilot.wait(revision, wait)
    arrived = Arrived(affected=pushed.affected, acknowledged=pushed.acknowledged, seconds=elapsed(found, began))
    refused = dict.fromkeys((*pushed.problems, *standing(found.pilot.problems, result.get("applied", []))))
    late = late_problem(pushed.pending, wait) if pushed.pending else None
    return outcome(result, arrived, late, tuple(refused))


def standing(problems: Iterable[Problem], applied: Iterable[Mapping[str, str]]) -> Iterator[Problem]:
    """What stands between these objects and the proxies, since this change or longer: who applies them again is told again."""
    keys = {str(ObjectKey(each["kind"], each["namespace"], each["name"])) for each in applied}
    return (each for each in problems if not keys.isdisjoint(each.object.split(", ")))


def late_problem(pending: tuple[str, ...], wait: float) -> Problem:
    """Who has not answered."""
    named = ", ".join(pending[:LONGEST_NAMED]) + (f" and {len(pending) - LONGEST_NAMED} more" if len(pending) > LONGEST_NAMED else "")
    return problem("HBK0604", f"after {wait:g} s the change was not acknowledged by {named}")


def outcome(result: dict[str, Any], arrived: Arrived, late: Problem | None = None, refused: tuple[Problem, ...] = ()) -> Response:
    """200; 502 when the change is stored and has no effect on some proxies, 504 when it is stored but not everywhere in time."""
    told = [each.to_json() for each in (*refused, *((late,) if late else ()))]
    status = 502 if has_errors(refused) else 504 if late else 200
    return JSONResponse({**result, "problems": [*result["problems"], *told], **asdict(arrived)}, status_code=status)


def elapsed(found: Parts, began: float) -> float:
    """Seconds since the request was read."""
    return round(found.clock.monotonic() - began, 3)
