"""Telling the control plane that nothing of a pod is left, so that its object may go too."""

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable

_RETRY: Final = Backoff(first=0.1, limit=2.0)
_NOT_FOUND: Final = 404
_log = logger("agent.pod")


async def finalize(api: AsyncUnixHttp, path: str, uid: str) -> None:
    """The object of the pod with this uid is gone, or was before; one of the same name that came after it stays.

    A control plane that is away, or cannot write now, is asked until it has answered.
    """
    failures = 0
    while True:
        with suppress(NotReachable):
            code, answer = await api.request("DELETE", f"{path}?finalize=true&uid={quote(uid)}")
            if code < 500:
                # A refusal is an answer: it would be the same ever after. Either another pod has the name by now, or nobody wants
                # this one ended, and then the control plane tells of it again as of a new one.
                if code >= 400 and code != _NOT_FOUND:
                    _log.warning("the object of a pod that is gone stays", path=path, uid=uid, code=code, answer=answer)
                return
        failures += 1
        await asyncio.sleep(_RETRY.delay(failures))
