"""Agents ask about connections that are open."""

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.apiserver.serving import Api, FakePilot, codes, serving
from tests.unit.apiserver.test_remote import two_machines

from hauberk.apiserver.decisions import MOST_CONNECTIONS

GOOD, EVIL = "spiffe://td/ns/shop/sa/good", "spiffe://td/ns/shop/sa/evil"


def question(*identities: str, pod: str = "ours") -> dict[str, Any]:
    connections = [{"identity": each, "address": "10.0.0.1", "destination": "10.0.0.9", "port": 9000} for each in identities]
    return {"namespace": "default", "pod": pod, "connections": connections}


async def ask(api: Api, question: dict[str, Any]) -> tuple[int, Any]:
    return await api.request("POST", "/v1/decisions", question)


async def test_each_connection_is_answered_in_its_place(tmp_path: Path) -> None:
    async with serving(tmp_path, pilot=FakePilot()) as api:
        assert await ask(api, question(GOOD, EVIL, "")) == (200, {"allowed": [True, False, True]})
        assert await ask(api, question()) == (200, {"allowed": []})


async def test_while_nothing_is_known_nobody_is_judged(tmp_path: Path) -> None:
    async with serving(tmp_path, pilot=FakePilot(ready=False)) as api:
        assert await ask(api, question(EVIL)) == (503, {"allowed": None})
    async with serving(tmp_path) as api:
        assert (await ask(api, question(EVIL)))[0] == 501


async def test_proxies_are_served_while_connections_are_judged(tmp_path: Path) -> None:
    pilot = FakePilot()
    async with serving(tmp_path, pilot=pilot) as api:
        await ask(api, question(GOOD))
        assert pilot.judged_in not in (None, threading.get_ident())
        asked = question(GOOD)
        assert (await ask(api, asked | {"connections": asked["connections"] * (MOST_CONNECTIONS + 1)}))[0] == 400


@pytest.mark.parametrize("broken", [{"port": -1}, {"port": 70_000}, {"address": 5}, {"more": 1}])
async def test_what_is_no_connection_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    asked = question(GOOD)
    asked["connections"][0] |= broken
    async with serving(tmp_path, pilot=FakePilot()) as api:
        assert (await ask(api, asked))[0] == 400


async def test_the_agent_of_another_machine_asks_about_its_own_pods_alone(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (_, remote):
        assert await ask(remote, question(GOOD, EVIL)) == (200, {"allowed": [True, False]})
        for name in ("theirs", "nobody"):
            status, answer = await ask(remote, question(GOOD, pod=name))
            assert (status, codes(answer)) == (404, ["HBK0501"])
