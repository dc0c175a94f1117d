"""The object of a pod that has ended goes, and no other."""

from typing import Any, cast

import pytest

from hauberk.agent.finalization import finalize
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable

POD = "/v1/objects/pods/shop/web"


class FakeApi:
    """A control plane with these answers; None is that it is away."""

    def __init__(self, *answers: int | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    async def request(self, method: str, path: str) -> tuple[int, Any]:
        self.asked.append((method, path))
        code = self.answers.pop(0)
        if code is None:
            raise NotReachable("api.sock", "refused")
        return code, {}


@pytest.mark.parametrize("answer", [200, 404, 409, 422])
async def test_an_answer_is_the_end_of_it(answer: int) -> None:
    api = FakeApi(answer)
    await finalize(cast("AsyncUnixHttp", api), POD, "u-1")
    assert api.asked == [("DELETE", f"{POD}?finalize=true&uid=u-1")]


async def test_a_control_plane_that_is_away_or_cannot_write_is_asked_again() -> None:
    api = FakeApi(None, 507, 200)
    await finalize(cast("AsyncUnixHttp", api), POD, "u-1")
    assert api.answers == []
