"""The pods of this machine, as the control plane tells them: first all of them, then every change."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from hauberk.api.pod import Pod
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable, RequestFailed

_RETRY: Final = Backoff(first=0.05, limit=1.0)
_log = logger("agent.pods")


@dataclass(frozen=True, slots=True)
class AllPods:
    """Exactly these exist."""

    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class PodSeen:
    """This pod is new or has changed."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    """This pod exists no longer."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class ControlPlaneAway:
    """The control plane does not answer; said at each failed attempt."""

    failures: int


Change = AllPods | PodSeen | PodGone | ControlPlaneAway


class PodSource:
    """Lists and follows the pods of `node`, for ever."""

    def __init__(self, api: AsyncUnixHttp, node: str) -> None:
        self._api = api
        self._node = node

    async def changes(self) -> AsyncIterator[Change]:
        """Each change; after a break, all pods again."""
        failures = 0
        while True:
            try:
                listing, revision = await self._list()
                yield listing
                failures = 0
                async for change in self._follow(revision):
                    yield change
            except (NotReachable, RequestFailed) as exc:
                _log.debug("the pods cannot be followed now", reason=str(exc))
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                _log.warning("the control plane's answer is not understood", reason=repr(exc))
            failures += 1
            yield ControlPlaneAway(failures)
            await asyncio.sleep(_RETRY.delay(failures))

    async def _list(self) -> tuple[AllPods, str]:
        code, answer = await self._api.request("GET", "/v1/objects/pods")
        if code != 200:
            raise RequestFailed(code, answer)
        pods = (self._pod(document) for document in answer["items"])
        return AllPods(tuple(pod for pod in pods if pod is not None)), str(answer["metadata"]["resourceVersion"])

    async def _follow(self, revision: str) -> AsyncIterator[Change]:
        async with aclosing(self._api.stream_lines(f"/v1/objects/pods?watch=true&resourceVersion={revision}")) as lines:
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "ERROR":
                    return
                pod = self._pod(event["object"])
                if pod is not None:
                    yield PodGone(pod) if event["type"] == "DELETED" else PodSeen(pod)

    def _pod(self, document: dict[str, Any]) -> Pod | None:
        try:
            pod = Pod.model_validate(document)
        except ValidationError as exc:
            _log.error("a pod of the control plane is not understood", pod=document.get("metadata", {}).get("name"), reason=str(exc))
            return None
        return pod if pod.spec.node_name in ("", self._node) else None
