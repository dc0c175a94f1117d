"""An API of a store of its own, on a socket of its own, for tests."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem
from hauberk.apiserver import server
from hauberk.apiserver.rules import Rules
from hauberk.apiserver.state import Parts
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable
from hauberk.local.first_objects import put_first_objects
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.sources.store import Store


@dataclass
class Pushed:
    affected: int = 0
    acknowledged: int = 0
    pending: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass
class FakePilot:
    """Two proxies, which acknowledge whatever they are not told to be slow about, or to refuse."""

    slow: tuple[str, ...] = ()
    refusals: tuple[Problem, ...] = ()
    ready: bool = True
    problems: tuple[Problem, ...] = ()
    snapshot: MeshSnapshot | None = None
    waited: list[int] = field(default_factory=list)
    judged: ObjectKey | None = None
    judged_in: int | None = None  # thread

    def judge(self, pod: ObjectKey, connections: Sequence[dict[str, Any]]) -> Sequence[bool] | None:
        self.judged, self.judged_in = pod, threading.get_ident()
        return [each["identity"] != "spiffe://td/ns/shop/sa/evil" for each in connections] if self.ready else None

    async def wait(self, revision: int, timeout: float) -> Pushed:
        self.waited.append(revision)
        return Pushed(2, 2 - len(self.slow) - len(self.refusals), self.slow, self.refusals)

    def proxies(self) -> list[dict[str, Any]]:
        return [{"pod": "web-1", "namespace": "default", "synced": not self.slow}]


class Api(AsyncUnixHttp):
    """A client that knows the API's habits."""

    def __init__(self, path: Path, parts: Parts) -> None:
        super().__init__(path)
        self.parts = parts
        self.store = parts.store

    async def apply(self, *texts: str, **more: Any) -> tuple[int, Any]:
        files = [{"name": f"{number}.yaml", "text": text} for number, text in enumerate(texts)]
        return await self.request("POST", "/v1/apply", {"files": files, **more})

    async def get(self, path: str) -> Any:
        status, body = await self.request("GET", f"/v1/objects/{path}")
        assert status == 200, body
        return body

    async def names(self, plural: str, query: str = "") -> list[str]:
        return [item["metadata"]["name"] for item in (await self.get(plural + query))["items"]]

    async def watch(self, path: str, number: int) -> list[str]:
        """The first lines of a watch, as TYPE NAME RESOURCEVERSION."""
        found: list[str] = []
        async with aclosing(self.stream_lines(f"/v1/objects/{path}")) as lines:
            async for line in lines:
                event = json.loads(line)
                metadata = event["object"].get("metadata", {})
                found.append(" ".join((event["type"], metadata.get("name", "-"), metadata.get("resourceVersion", "-"))))
                if len(found) == number:
                    break
        return found


def codes(body: Any) -> list[str]:
    return [each["code"] for each in body["problems"]]


@asynccontextmanager
async def serving(path: Path, **parts: Any) -> AsyncIterator[Api]:
    """A fresh mesh's objects (five of them) behind the API."""
    store = Store(path / "objects.db")
    await store.transact(lambda draft: put_first_objects(draft, fresh=True))
    made = Parts(store=store, rules=Rules(node="here"), version="1.2.3", **parts)
    api = Api(path / "api.sock", made)
    task = asyncio.create_task(server.serve(made, path / "api.sock"))
    try:
        async with asyncio.timeout(30):
            await reachable(api)
            yield api
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def until(condition: Callable[[], bool]) -> None:
    """The condition holds; it depends on other tasks of this event loop."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event to it
        await asyncio.sleep(0.001)


async def reachable(api: AsyncUnixHttp) -> None:
    """The socket answers."""
    while True:
        try:
            await api.request("GET", "/v1/readyz")
        except NotReachable:
            await asyncio.sleep(0.005)
        else:
            return
