"""Telling the control plane a pod's status: the newest, once, however often it changed meanwhile and however long nobody listened."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from hauberk.api.pod_status import PodStatus
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable

_RETRY: Final = Backoff(first=0.1, limit=2.0)
# The pod is gone, or one that came after it has its name: there is nobody left whose status this is.
_NOBODY: Final = (404, 409)
_MERGE_PATCH: Final = {"content-type": "application/merge-patch+json"}
_log = logger("agent.status")


class StatusReport:
    """One pod's status on its way to the control plane."""

    def __init__(self, api: AsyncUnixHttp, path: str, uid: str, interval: float, last: PodStatus) -> None:
        self._api = api
        self._path = path
        self._uid = uid
        self._interval = interval
        self._wanted = last
        self._told = last
        self._changed = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._caught_up.set()

    def tell(self, status: PodStatus) -> None:
        """The control plane hears of this status soon."""
        self._wanted = status
        if status != self._told:
            self._caught_up.clear()
            self._changed.set()

    async def told(self, timeout: float) -> bool:
        """Whether the control plane knows the newest status, waiting at most so many seconds for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._caught_up.wait()
        return self._caught_up.is_set()

    async def run(self) -> None:
        """Tells until cancelled."""
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            status = self._wanted
            if status != self._told and not await self._patch(status):
                failures += 1
                self._changed.set()
                await asyncio.sleep(_RETRY.delay(failures))
                continue
            failures = 0
            self._told = status
            if self._wanted == status:
                self._caught_up.set()
            # The first change is told at once; what follows within the interval goes into one message.
            await asyncio.sleep(self._interval)

    async def _patch(self, status: PodStatus) -> bool:
        said = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        # With its uid: a pod of the same name that came after this one must not be believed to be what this one was.
        document: dict[str, Any] = {"metadata": {"uid": self._uid}, "status": said}
        try:
            code, answer = await self._api.request("PATCH", f"{self._path}/status", json=document, headers=_MERGE_PATCH)
        except NotReachable:
            return False
        if code >= 500:
            return False
        if code >= 400 and code not in _NOBODY:
            _log.error("the control plane refuses a pod's status", path=self._path, code=code, answer=answer)
        return True
