"""Telling the control plane a pod's status."""

import asyncio
from typing import Any, cast

from hauberk.agent.status_report import StatusReport
from hauberk.api.pod_status import PodStatus
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable


class FakeApi:
    """A control plane that is away at first, for so many attempts."""

    def __init__(self, away: int = 0, uid: str = "u-1") -> None:
        self.away = away
        self.uid = uid
        self.asked = 0
        self.phases: list[str] = []

    async def request(self, method: str, path: str, json: Any, headers: Any) -> tuple[int, Any]:
        assert (method, path) == ("PATCH", "/v1/objects/pods/shop/web/status")
        if self.away:
            self.away -= 1
            raise NotReachable("api.sock", "refused")
        self.asked += 1
        if json["metadata"] != {"uid": self.uid}:
            return 409, {}
        self.phases.append(json["status"]["phase"])
        return 200, {}


async def tell(api: FakeApi, *statuses: PodStatus) -> list[str]:
    report = StatusReport(cast("AsyncUnixHttp", api), "/v1/objects/pods/shop/web", "u-1", 0.0, PodStatus())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(report.run())
        for status in statuses:
            report.tell(status)
        assert await report.told(10)
        running.cancel()
    return api.phases


async def test_many_changes_at_once_are_told_as_one() -> None:
    assert await tell(FakeApi(), PodStatus(phase="Running"), PodStatus(phase="Failed")) == ["Failed"]


async def test_what_was_told_is_not_told_again() -> None:
    assert await tell(FakeApi(), PodStatus()) == []


async def test_a_control_plane_that_comes_back_hears_the_newest() -> None:
    assert await tell(FakeApi(away=2), PodStatus(phase="Running")) == ["Running"]


async def test_a_pod_of_the_same_name_that_came_after_does_not_get_the_status_and_is_asked_once() -> None:
    api = FakeApi(uid="u-2")
    assert await tell(api, PodStatus(phase="Running")) == []
    assert api.asked == 1
