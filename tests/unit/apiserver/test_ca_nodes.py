"""Other machines over the API: what is asked reaches who decides, and his refusals come back as what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.apiserver.serving import FakePilot, codes, serving

PILOT = FakePilot()


class FakeMachines:
    """Knows n2."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def create_token(self, node: str, seconds: float) -> Mapping[str, Any]:
        self.asked.append(("token", node, seconds))
        if node == "banned":
            raise PermissionError("node banned was banned")
        if node != "n2":
            raise ValueError(f"{node!r} is no name for a node")
        return {"node": node, "token": "id.secret"}

    def nodes(self) -> Mapping[str, Any]:
        return {"nodes": [{"name": "n2"}]}

    async def ban(self, node: str, reason: str) -> Mapping[str, Any]:
        self.asked.append(("ban", node, reason))
        if node != "n2":
            raise LookupError(f"there is no node {node}")
        return {"name": node}

    async def readmit(self, node: str) -> Mapping[str, Any]:
        raise PermissionError(f"node {node} is not banned")

    def agents(self) -> Sequence[dict[str, Any]]:
        return [{"node": "n2", "ready": True, "pods": 3}]

    def proxy(self, namespace: str, pod: str) -> dict[str, Any]:
        return {"ready": True} if (namespace, pod) == ("default", "web-1") else {}


async def test_a_token_is_made_for_a_node_and_lives_as_long_as_was_said(tmp_path: Path) -> None:
    machines = FakeMachines()
    async with serving(tmp_path, machines=machines) as api:
        assert await api.request("POST", "/v1/ca/tokens", {"node": "n2", "ttl": 60}) == (200, {"node": "n2", "token": "id.secret"})
        assert (await api.request("POST", "/v1/ca/tokens", {"node": "n2"}))[0] == 200
    assert machines.asked == [("token", "n2", 60.0), ("token", "n2", 600.0)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/ca/tokens", {"node": "../n2"}, 422, "HBK0505"),
        ("POST", "/v1/ca/tokens", {"node": "banned"}, 409, "HBK0506"),
        ("POST", "/v1/ca/nodes/n9/ban", {}, 404, "HBK0501"),
        ("POST", "/v1/ca/nodes/n2/ban", {"reason": "x" * 501}, 422, "HBK0505"),
        ("DELETE", "/v1/ca/nodes/n2/ban", None, 409, "HBK0506"),
    ],
)
async def test_what_cannot_be_done_is_told_with_its_status(
    tmp_path: Path, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    async with serving(tmp_path, machines=FakeMachines()) as api:
        answer = await api.request(method, path, body)
        assert (answer[0], codes(answer[1])) == (status, [code])


async def test_machines_are_listed_and_banned_with_the_reason(tmp_path: Path) -> None:
    machines = FakeMachines()
    async with serving(tmp_path, machines=machines) as api:
        assert await api.request("GET", "/v1/ca/nodes") == (200, {"nodes": [{"name": "n2"}]})
        assert (await api.request("POST", "/v1/ca/nodes/n2/ban", {"reason": "stolen"}))[0] == 200
    assert machines.asked == [("ban", "n2", "stolen")]


async def test_the_status_tells_of_other_machines_agents_and_proxies(tmp_path: Path) -> None:
    async with serving(tmp_path, machines=FakeMachines(), pilot=PILOT) as api:
        _, status = await api.request("GET", "/v1/status")
        assert status["agents"] == [{"node": "n2", "ready": True, "pods": 3}]
        assert status["proxies"][0]["ready"] is True


async def test_a_control_plane_without_other_machines_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert (await api.request("GET", "/v1/ca/nodes"))[0] == 501
