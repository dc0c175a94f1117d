"""Connections that policy no longer allows end; the sidecars, the kernel and the control plane are played here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from hauberk.agent import policy_sweep
from hauberk.agent.live_connections import LiveConnection, Upgrade
from hauberk.agent.policy_sweep import PolicySweep
from hauberk.agent.sidecar_pod import PodRef
from hauberk.kit.backoff import Backoff
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable
from hauberk.kit.watched import Watched
from hauberk.linux.socket_destroy import Connection

ALICE, BOB = "spiffe://td/ns/shop/sa/alice", "spiffe://td/ns/shop/sa/bob"


def pod(uid: str) -> PodRef:
    return PodRef(uid=uid, namespace="shop", name=uid, service_account="web", network=uid)


class World:
    """Pods with sidecars, connections to them, and a control plane that refuses some identities."""

    def __init__(self, path: Path) -> None:
        self.pods: tuple[PodRef, ...] = (pod("web"),)
        self.changes: Watched[str] = Watched()
        self.rules: dict[str, str] = {"web": "1"}
        self.open: dict[str, tuple[LiveConnection, ...]] = {
            "web": (made("10.0.0.1:1", ALICE), made("10.0.0.2:2", BOB), made("[fd00::1]:3", ALICE))
        }
        self.sockets: list[Connection] = []
        self.refuses: set[str] = set()
        self.away = 0
        self.questions: list[Any] = []
        self.ended: list[Connection] = []
        self.path = path
        self.happened = asyncio.Event()  # somebody was asked, or the file was written

    def connections_rule(self, uid: str) -> str | None:
        return self.rules.get(uid)

    async def live(self, uid: str) -> Sequence[LiveConnection]:
        return self.open.get(uid, ())

    async def end(self, pod: PodRef, condemned: Callable[[Connection], bool]) -> int:
        held = [Connection("10.0.0.9", 15006, each.caller_host, each.caller_port) for each in self.open[pod.uid]]
        others = [Connection("10.0.0.9", 9000, "10.0.0.1", 1)]  # of the program itself
        found = [each for each in dict.fromkeys((*held, *others, *self.sockets)) if condemned(each) and each not in self.ended]
        self.ended += found
        return len(found)

    async def request(self, method: str, path: str, question: Any) -> tuple[int, Any]:
        self.questions.append(question)
        self.happened.set()
        assert (method, path) == ("POST", "/v1/decisions")
        if self.away:
            self.away -= 1
            if self.away % 2:
                raise NotReachable("api.sock", "nobody")
            return 503, {"allowed": None}
        return 200, {"allowed": [each["identity"] not in self.refuses for each in question["connections"]]}

    def change(self, rule: str, *, uid: str = "web") -> None:
        self.rules[uid] = rule
        self.changes.set(uid)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        api = cast(AsyncUnixHttp, self)
        task = asyncio.create_task(PolicySweep(sidecars=self, live=self.live, end=self.end, api=api, path=self.path).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self.happened.clear()
            await self.happened.wait()

    async def swept(self, rule: str) -> None:
        await self.until(lambda: rule in (self.path.read_text() if self.path.exists() else ""))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world, loop, write = World(tmp_path / "connections.json"), asyncio.get_running_loop(), policy_sweep._write

    def write_and_tell(path: Path, swept: dict[str, str]) -> None:
        write(path, swept)
        loop.call_soon_threadsafe(world.happened.set)

    monkeypatch.setattr(policy_sweep, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(policy_sweep, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(policy_sweep, "_RETRY", Backoff(first=0.001, limit=0.002))
    monkeypatch.setattr(policy_sweep, "_write", write_and_tell)
    return world


async def test_what_policy_refuses_now_ends_and_nothing_else(world: World) -> None:
    async with asyncio.timeout(5), world.running():
        await world.swept('"1"')
        assert world.ended == []
        world.refuses = {ALICE}
        world.change("2")
        await world.swept('"2"')
    assert [(each.remote, each.remote_port, each.local_port) for each in world.ended] == [("10.0.0.1", 1, 15006), ("fd00::1", 3, 15006)]


async def test_the_question_names_all_that_policy_can_ask(world: World) -> None:
    async with asyncio.timeout(5), world.running():
        await world.swept('"1"')
    first = world.questions[0]
    assert (first["namespace"], first["pod"]) == ("shop", "web")
    assert first["connections"][2] == {"identity": ALICE, "address": "fd00::1", "destination": "10.0.0.9", "port": 9000, "serverName": "x"}


async def test_a_control_plane_that_is_away_is_asked_until_it_answers(world: World) -> None:
    world.away, world.refuses = 7, {BOB}
    async with asyncio.timeout(5), world.running():
        await world.swept('"1"')
    assert [each.remote for each in world.ended] == ["10.0.0.2"]


async def test_an_agent_that_starts_again_does_what_was_left_and_nothing_twice(world: World) -> None:
    async with asyncio.timeout(5), world.running():
        await world.swept('"1"')
    asked = len(world.questions)
    world.pods = (*world.pods, pod("db"))
    world.rules["db"] = "d1"
    world.open["db"] = (made("10.0.0.1:1", BOB),)
    async with asyncio.timeout(5), world.running():
        await world.swept('"d1"')  # begun after that of the other pod would have
    assert {each["pod"] for each in world.questions[asked:]} == {"db"}
    world.refuses, world.rules["web"] = {ALICE}, "2"
    async with asyncio.timeout(5), world.running():
        await world.swept('"2"')
    assert len(world.ended) == 2


async def test_what_an_envoy_takes_on_meanwhile_is_swept_for_too(world: World) -> None:
    world.away = 5
    async with asyncio.timeout(5), world.running():
        await asyncio.sleep(0)
        world.refuses = {BOB}
        world.change("2")
        await world.swept('"2"')
    assert [each.remote for each in world.ended] == ["10.0.0.2"]


async def test_a_pod_that_is_gone_is_forgotten_and_holds_nobody_up(world: World) -> None:
    world.away = 10_000
    world.pods = (*world.pods, pod("db"))
    world.rules["db"] = "d1"
    world.open["db"] = (made("10.0.0.1:1", ALICE),)
    async with asyncio.timeout(5), world.running():
        await world.until(lambda: len(world.questions) >= 4)
        world.pods = world.pods[1:]
        world.away = 0
        await world.swept('"d1"')
        world.change("d2", uid="db")
        await world.swept('"d2"')
    assert '"web"' not in world.path.read_text()


async def test_an_upgraded_request_ends_at_its_program_and_its_callers_connection_goes_on(world: World) -> None:
    near, far = "10.0.0.9:7000", "10.0.0.9:8080"
    request = Upgrade(method="GET", host="web", path="/chat", client="192.0.2.7", near=near, far=far)
    chat = LiveConnection(caller="10.0.0.1:1", called=far, identity=ALICE, upgrade=request)
    world.open["web"] = (chat, made("10.0.0.2:2", BOB))
    held = [("10.0.0.9", 15006, "10.0.0.1", 1), ("10.0.0.9", 8080, "10.0.0.9", 7000), ("10.0.0.9", 7000, "10.0.0.9", 8080)]
    world.sockets = [Connection(*each) for each in (*held, ("10.0.0.9", 7000, "10.0.0.3", 8080))]
    world.refuses = {ALICE}
    async with asyncio.timeout(5), world.running():
        await world.swept('"1"')
    assert world.ended == [Connection("10.0.0.9", 7000, "10.0.0.9", 8080)]
    (asked, other) = world.questions[0]["connections"]
    assert asked["request"] == {"method": "GET", "host": "web", "path": "/chat", "client": "192.0.2.7"}
    assert "request" not in other


def made(caller: str, identity: str) -> LiveConnection:
    return LiveConnection(caller=caller, called="10.0.0.9:9000", identity=identity, server_name="x")
