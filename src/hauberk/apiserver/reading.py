"""Objects are got, listed and watched."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hauberk.api.document import to_document
from hauberk.api.kinds import Kind
from hauberk.api.metadata import ApiObject
from hauberk.api.problem import problem
from hauberk.api.selector import Selector
from hauberk.apiserver.lookup import existing, flag, requested_key, requested_kind, requested_selector
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.state import Parts, parts, until
from hauberk.sources.change import Event, EventType
from hauberk.sources.problems import ResumeTooOld
from hauberk.sources.store import Store

JSON_LINES = "application/jsonl"


@dataclass(slots=True)
class Question:
    """Which objects are meant; remembers which it has told of, since an object may cease to match."""

    kind: Kind
    namespace: str | None
    selector: Selector
    told: set[str] = field(default_factory=set)
    # Of what is not visible to the asker nothing is told, not even that it is gone.
    visible: Callable[[ApiObject], bool] = lambda _: True

    def matches(self, item: ApiObject) -> bool:
        """The object is among those meant."""
        here = self.namespace is None or item.metadata.namespace == self.namespace
        return here and self.visible(item) and self.selector.matches(item.metadata.labels)

    def news(self, event: Event, *, resumed: bool) -> EventType | None:
        """What the event is to somebody who sees only the objects that match."""
        if not self.visible(event.object):
            return None
        uid = event.object.metadata.uid
        # A watch that was resumed does not know what its reader was told before; better told twice than not at all.
        known = uid in self.told or (resumed and event.type is not EventType.ADDED)
        if event.type is not EventType.DELETED and self.matches(event.object):
            self.told.add(uid)
            return EventType.MODIFIED if known else EventType.ADDED
        self.told.discard(uid)
        relevant = self.namespace is None or event.object.metadata.namespace == self.namespace
        return EventType.DELETED if known and relevant else None


def requested(request: Request) -> Question:
    """The question of a list or watch."""
    kind = requested_kind(request)
    namespace = request.query_params.get("namespace") or None
    return Question(kind, namespace if kind.namespaced else None, requested_selector(request))


async def get_object(request: Request) -> Response:
    """GET …/{plural}/{namespace}/{name}."""
    return JSONResponse(to_document(existing(parts(request).store, requested_key(request))))


async def get_objects(request: Request) -> Response:
    """GET …/{plural}: a List, or a stream of events."""
    return answer_question(request, requested(request))


def answer_question(request: Request, question: Question) -> Response:
    """The objects that are meant, now or, with watch=true, from now on."""
    store = parts(request).store
    if flag(request, "watch"):
        return start_watch(parts(request), question, requested_revision(request))
    listing = store.list(question.kind.name)
    items = [to_document(item) for item in listing.items if question.matches(item)]
    metadata = {"resourceVersion": str(listing.revision)}
    return JSONResponse({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items})


def requested_revision(request: Request) -> int | None:
    """The resourceVersion of the query, from which a watch resumes."""
    text = request.query_params.get("resourceVersion", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, problem("HBK0505", f"{text!r} is no resourceVersion", remedy="use one that a list or watch gave"))
    return int(text)


def start_watch(found: Parts, question: Question, since: int | None) -> Response:
    """A stream of JSON lines; one that cannot be resumed is refused before it begins."""
    if since is not None:
        found.store.events_since(since, (question.kind.name,))
    lines = watch_lines(found.store, question, since, found.bookmark_seconds)
    return StreamingResponse(until(found.ending, lines), media_type=JSON_LINES)


async def watch_lines(store: Store, question: Question, since: int | None, bookmark_seconds: float) -> AsyncIterator[bytes]:
    """Events as they happen; a bookmark after the first ones, and whenever nothing else was said for a while."""
    kinds, resumed = (question.kind.name,), since is not None
    events = store.present(kinds) if since is None else store.events_since(since, kinds)
    seen, quiet = store.revision, True
    while True:
        if lines := [line for event in events if (line := event_line(question, event, resumed=resumed))]:
            yield b"".join(lines)
        if quiet:
            yield bookmark(question.kind, seen)
        quiet = not await changed(store, seen, bookmark_seconds)
        try:
            events, seen = store.events_since(seen, kinds), store.revision
        except ResumeTooOld as error:
            yield line_of("ERROR", {"problems": [problem("HBK0502", str(error), remedy="list the objects again").to_json()]})
            return


async def changed(store: Store, revision: int, seconds: float) -> bool:
    """Whether anything happened after `revision` within the time."""
    try:
        async with asyncio.timeout(seconds):
            await store.beyond(revision)
    except TimeoutError:
        return False
    return True


def event_line(question: Question, event: Event, *, resumed: bool) -> bytes | None:
    """The event as the watcher reads it, if it concerns it."""
    news = question.news(event, resumed=resumed)
    return None if news is None else line_of(news, to_document(event.object))


def bookmark(kind: Kind, revision: int) -> bytes:
    """Everything up to `revision` has been told."""
    metadata = {"resourceVersion": str(revision)}
    return line_of("BOOKMARK", {"apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": metadata})


def line_of(type_: str, document: dict[str, Any]) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": type_, "object": document}, separators=(",", ":")).encode() + b"\n"
