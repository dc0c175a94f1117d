"""Revocations over the API: by whose word, and what is answered to what cannot be."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.unit.apiserver.serving import Api, codes, serving

from hauberk.apiserver.ca_revocations import PATH
from hauberk.kit.unix_server import machine_uid

Asked = dict[str, str]


class FakeRevoker:
    """Knows the pod shop/web."""

    def __init__(self) -> None:
        self.revoked: list[Asked] = []
        self.undone: list[Asked] = []

    async def revoke(self, *, pod: str, serial: str, identity: str, reason: str, by: str, wait: float) -> Mapping[str, Any]:
        if not any((pod, serial, identity)):
            raise ValueError("one thing is revoked at a time")
        if pod not in ("", "shop/web"):
            raise LookupError(f"there is no pod {pod}")
        self.revoked.append({"pod": pod, "serial": serial, "identity": identity, "reason": reason, "by": by})
        return {"revocation": {"name": pod}, "certificates": []}

    async def undo(self, *, pod: str, serial: str, identity: str, by: str, wait: float) -> Mapping[str, Any]:
        if not self.revoked:
            raise LookupError(f"pod {pod} is not revoked")
        self.undone.append({"pod": pod, "by": by})
        return {"revocation": {"name": pod}, "certificates": []}

    def revocations(self) -> Mapping[str, Any]:
        return {"items": self.revoked}


@pytest.fixture
def revoker() -> FakeRevoker:
    return FakeRevoker()


@pytest_asyncio.fixture
async def api(tmp_path: Path, revoker: FakeRevoker) -> AsyncIterator[Api]:
    async with serving(tmp_path, revoker=revoker) as served:
        yield served


async def test_a_revocation_is_by_the_word_of_the_user_at_the_other_end_of_the_socket(api: Api, revoker: FakeRevoker) -> None:
    status, answer = await api.request("POST", PATH, {"pod": "shop/web", "reason": "key leaked"})
    assert (status, answer["revocation"]) == (200, {"name": "shop/web"})
    by = f"uid {machine_uid(os.getuid())}"
    assert revoker.revoked == [{"pod": "shop/web", "serial": "", "identity": "", "reason": "key leaked", "by": by}]
    assert (await api.request("DELETE", PATH, {"pod": "shop/web"}))[0] == 200
    assert revoker.undone == [{"pod": "shop/web", "by": by}]
    assert await api.request("GET", PATH) == (200, {"items": revoker.revoked})


async def test_nobody_can_say_that_he_is_somebody_else(api: Api, revoker: FakeRevoker) -> None:
    assert (await api.request("POST", PATH, {"pod": "shop/web", "by": "uid 0"}))[0] == 400
    assert revoker.revoked == []


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("POST", {}, 422, "HBK0505"),
        ("POST", {"pod": "shop/nobody"}, 404, "HBK0501"),
        ("POST", {"pod": "shop/web", "reason": "x" * 501}, 422, "HBK0505"),
        ("POST", {"pod": "shop/web", "wait": "-1"}, 400, "HBK0505"),
        ("DELETE", {"pod": "shop/web"}, 404, "HBK0501"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(api: Api, method: str, body: Asked, status: int, code: str) -> None:
    answered, problems = await api.request(method, PATH, body)
    assert (answered, codes(problems)) == (status, [code])


async def test_a_control_plane_without_an_authority_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert (await api.request("GET", PATH))[0] == 501


def test_a_user_is_named_as_the_machine_counts() -> None:
    assert machine_uid(os.getuid()) >= 0
