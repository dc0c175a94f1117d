"""Pilot with simulated proxies on real streams, in one process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from tests.unit.mesh.mesh_objects import mtls
from tests.unit.pilot.worlds import PATIENCE, Objects, Proxy, Translator, authentication, namespace_object, pod, policy, service
from tests.unit.xds.envoys import listener

from hauberk.mesh.issuer_keys import IssuerKeys, KeySource
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.pilot.pilot import TURN_SECONDS, Pilot
from hauberk.pilot.status import PushResult
from hauberk.xds.resource import Resource

HOUR = 3600


class World:
    """A running pilot."""

    def __init__(self, directory: Path, objects: Objects) -> None:
        self.address = f"unix:{directory}/xds.sock"
        self.objects = objects
        self.translator = Translator()
        self.pilot = Pilot(objects, self.translator)
        self.proxies: dict[str, Proxy] = {}

    async def wait(self, revision: int | None = None, timeout: float = PATIENCE) -> PushResult:
        return await self.pilot.wait(self.objects.revision if revision is None else revision, timeout)

    async def until(self, condition: Callable[[], bool]) -> None:
        # A bound of its own: one around the fixture's yield would end the fixture's task, and never the test's.
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  pilot has no event for a proxy that comes or goes
                await asyncio.sleep(0)

    async def synced(self, count: int) -> None:
        await self.until(lambda: [status.synced for status in self.pilot.status()] == [True] * count)

    async def connected(self, count: int) -> None:
        await self.until(lambda: sum(status.connected for status in self.pilot.status()) == count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        task = asyncio.create_task(self.pilot.run(self.address))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    objects = Objects(service("web"), service("api"), pod("web-1"), pod("api-1", address="10.0.0.2", app="api"))
    async with World(tmp_path, objects).running() as running:
        yield running


async def test_a_proxy_gets_its_configuration(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as proxy, Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        assert set(proxy.told) == {"web", "api", "80", "inbound"}


async def test_a_change_is_waited_for_until_those_it_concerns_have_it(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        world.objects.put(policy("deny-all"))
        result = await world.wait()
        assert (result.affected, result.acknowledged, result.pending) == (1, 1, ())
        assert web.inbound_version() == listener("inbound", version="deny-all").version


async def test_a_proxy_that_does_not_answer_is_named(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        web.hold_back()
        world.objects.put(policy("deny-all"))
        result = await world.wait(timeout=0.3)
        assert (result.affected, result.acknowledged, result.pending) == (1, 0, ("shop/web-1",))
        web.go_on()
        assert (await world.wait()).complete


async def test_a_change_that_concerns_nobody_is_acknowledged_at_once(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address), Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        world.objects.put(namespace_object("other"), policy("elsewhere", namespace="other"))
        assert await world.wait() == PushResult(affected=0, acknowledged=0)


async def test_an_endpoint_change_reaches_all_and_is_endpoints_only(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address) as api:
        await world.synced(2)
        web.told.clear()
        world.objects.put(pod("web-2", address="10.0.0.9", ready=True))
        result = await world.pilot.wait(world.objects.revision, 0.3)
        # The new pod's own proxy is not connected yet, and the change concerns it.
        assert result.pending == ("shop/web-2",)
        assert web.told == ["web"]
        assert api.told[-1] == "web"


async def test_a_status_that_changes_nothing_is_not_pushed(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        web.told.clear()
        world.objects.put(pod("web-1"))
        assert await world.wait() == PushResult(affected=0, acknowledged=0)
        assert web.told == []


async def test_a_refusal_is_an_answer_and_leads_to_a_problem(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address), Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        world.objects.put(policy("bad"))
        result = await world.wait()
        assert result.complete
        assert [rejection.name for _, rejection in result.rejected] == ["inbound"]
        assert [each.code for each in world.pilot.problems] == ["HBK0603"]
        (web,) = (status for status in world.pilot.status() if status.pod.name == "web-1")
        assert web.synced
        assert web.to_json()["rejected"][0]["resource"] == "Listener/inbound"


async def test_what_was_refused_is_not_told_again_to_a_proxy_that_comes_back(world: World) -> None:
    proxy = Proxy("web-1", "shop")
    async with Proxy("api-1", "shop").connected(world.address):
        async with proxy.connected(world.address):
            await world.synced(2)
            world.objects.put(policy("bad"))
            await world.wait()
        await world.connected(1)
        proxy.told.clear()
        async with proxy.connected(world.address):
            await world.synced(2)
            assert proxy.told == []
            assert [each.code for each in world.pilot.problems] == ["HBK0603"]


async def test_after_a_restart_of_the_control_plane_nothing_is_told_again(tmp_path: Path) -> None:
    objects = Objects(service("web"), pod("web-1"))
    proxy = Proxy("web-1", "shop")
    async with World(tmp_path, objects).running() as first, proxy.connected(first.address):
        await first.synced(1)
    proxy.told.clear()
    async with World(tmp_path, objects).running() as second, proxy.connected(second.address):
        await second.synced(1)
        assert proxy.told == []


async def test_a_proxy_that_is_just_away_is_waited_for(world: World) -> None:
    proxy = Proxy("web-1", "shop")
    async with Proxy("api-1", "shop").connected(world.address):
        async with proxy.connected(world.address):
            await world.synced(2)
        await world.connected(1)
        world.objects.put(policy("deny-all"))
        assert (await world.wait(timeout=0.3)).pending == ("shop/web-1",)
        async with proxy.connected(world.address):
            assert (await world.wait()).complete
            assert proxy.inbound_version() == listener("inbound", version="deny-all").version


async def test_a_pod_that_is_deleted_is_not_waited_for(world: World) -> None:
    async with Proxy("api-1", "shop").connected(world.address):
        changed = world.objects.put(policy("deny-all"))
        assert "shop/web-1" in (await world.wait(timeout=0.3)).pending
        world.objects.remove(pod("web-1").key)
        await world.wait()
        assert (await world.wait(changed)).complete


async def test_a_pod_that_cannot_be_translated_does_not_stop_the_others(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address) as api:
        await world.synced(2)
        world.translator.stumbles_over.add("web-1")
        world.objects.put(policy("deny-web"), policy("deny-api", app="api"))
        await world.wait()
        assert api.inbound_version() == listener("inbound", version="deny-api").version
        assert web.inbound_version() == listener("inbound", version="none").version
        (stumbled,) = world.pilot.problems
        assert (stumbled.code, stumbled.object) == ("HBK0607", "Pod/shop/web-1")


async def test_a_translation_that_works_again_is_pushed_and_the_problem_gone(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        world.translator.stumbles_over.add("web-1")
        world.objects.put(policy("deny-web"))
        await world.wait()
        world.translator.stumbles_over.clear()
        world.objects.put(policy("deny-web-2"))
        await world.wait()
        assert web.inbound_version() == listener("inbound", version="deny-web-deny-web-2").version
        assert world.pilot.problems == ()


async def test_a_pod_nobody_knows_is_refused(world: World) -> None:
    proxy = Proxy("stranger", "shop")
    proxy.envoy.connect()
    with pytest.raises(grpc.aio.AioRpcError, match=r"no pod .*stranger"):
        await proxy.run(world.address)


async def test_many_changes_at_once_are_one_push(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address), Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        before = world.pilot.counters.snapshots
        for number in range(20):
            world.objects.put(policy(f"p{number}"))
        await world.wait()
        assert world.pilot.counters.snapshots == before + 1


async def test_the_newest_stream_of_a_pod_counts(world: World) -> None:
    first, second = Proxy("web-1", "shop"), Proxy("web-1", "shop")
    async with Proxy("api-1", "shop").connected(world.address), second.connected(world.address):
        await world.synced(2)
        async with first.connected(world.address):
            await world.until(lambda: world.pilot.counters.connections == 3)
            await world.synced(2)
        world.objects.put(policy("deny-all", app="api"))
        assert (await world.wait()).acknowledged == 1


async def test_a_proxy_that_refuses_has_not_acknowledged_and_a_later_change_is_not_to_blame(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address), Proxy("api-1", "shop").connected(world.address):
        await world.synced(2)
        world.objects.put(policy("bad"))
        result = await world.wait()
        assert (result.affected - result.acknowledged, [each.code for each in result.problems]) == (1, ["HBK0603"])
        world.objects.put(service("db"))
        later = await world.wait()
        assert (later.acknowledged, later.problems) == (later.affected, ())


async def test_keys_reach_those_they_concern_without_any_change_of_objects_and_are_waited_for(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web, Proxy("api-1", "shop").connected(world.address):
        world.objects.put(authentication("users", "https://keys.example/"))
        await world.wait()
        await world.synced(2)
        known = {KeySource("https://keys.example/"): IssuerKeys("the-keys")}
        web.hold_back()
        pushes = world.pilot.counters.affected
        world.pilot.believe(known)
        assert world.pilot.counters.affected == pushes + 1
        settled = asyncio.create_task(world.pilot.keys_taken(PATIENCE))
        await asyncio.sleep(0)
        assert not settled.done()
        web.go_on()
        await settled
        assert web.inbound_version() == listener("inbound", version="the-keys").version
        world.pilot.believe(dict(known))
        assert world.pilot.counters.affected == pushes + 1


async def test_who_does_not_answer_is_waited_for_no_longer_than_one_may(world: World) -> None:
    async with Proxy("web-1", "shop").connected(world.address) as web:
        world.objects.put(authentication("users", "https://keys.example/"))
        await world.wait()
        web.hold_back()
        world.pilot.believe({KeySource("https://keys.example/"): IssuerKeys("the-keys")})
        await world.pilot.keys_taken(0.05)
        web.go_on()
        await world.pilot.keys_taken(PATIENCE)
        assert web.inbound_version() == listener("inbound", version="the-keys").version


@asynccontextmanager
async def watched_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[tuple[str, bool]]]:
    """What the sidecar of web-1 takes and whether its callers send mutual TLS, push by push."""
    seen: list[tuple[str, bool]] = []
    key, mesh = pod("web-1").key, world.translator.mesh

    def look(snapshot: MeshSnapshot) -> tuple[Resource, ...]:
        ((_, endpoints),) = snapshot.endpoints[service("web").key].ports
        step = snapshot.inbound[key].mode.value, endpoints[0].mtls
        if step not in seen[-1:]:
            seen.append(step)
        return mesh(snapshot)

    monkeypatch.setattr(world.translator, "mesh", look)
    for proxy in (web := Proxy("web-1", "shop")), (api := Proxy("api-1", "shop")):
        world.proxies[proxy.name] = proxy
    async with web.connected(world.address), api.connected(world.address):
        await world.synced(2)
        yield seen


async def test_a_sidecar_takes_both_before_and_after_its_callers_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched_turn(world, monkeypatch) as seen:
        for mode in ("STRICT", "DISABLE", "STRICT"):
            assert (await world.wait(world.objects.put(mtls("default", mode)))).pending == ()
    assert seen == [
        *(("STRICT", True), ("PERMISSIVE", True), ("PERMISSIVE", False), ("DISABLE", False)),
        *(("PERMISSIVE", False), ("PERMISSIVE", True), ("STRICT", True)),
    ]


class HandClock:
    """Time as a test wants it while pilot waits for the answers to a step: it stands until it is put forward."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._world, self._ahead, self._waits = world, 0.0, 0
        time, settle = loop.time, world.pilot.settle

        async def wait(timeout: float) -> None:
            self._waits += 1
            await settle(timeout)

        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead)
        monkeypatch.setattr(world.pilot, "settle", wait)

    async def forward(self, seconds: float, *, waits: int, silent: str) -> None:
        """As soon as `waits` steps are waited for, or were, and all but `silent` have answered."""
        pilot = self._world.pilot
        await self._world.until(lambda: self._waits == waits and [each.pod.name for each in pilot.status() if not each.synced] == [silent])
        self._ahead += seconds


STEPS = [("PERMISSIVE", False), ("PERMISSIVE", True), ("STRICT", True)]


@pytest.mark.parametrize("silent", ["web-1", "api-1"])
async def test_a_proxy_that_never_answers_holds_up_no_mode_and_is_named(world: World, monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    async with watched_turn(world, monkeypatch) as seen:
        await world.wait(world.objects.put(mtls("default", "DISABLE")))
        seen.clear()
        clock = HandClock(world, monkeypatch)
        world.proxies[silent].hold_back()
        waiting = asyncio.create_task(world.wait(world.objects.put(mtls("default", "STRICT")), HOUR))
        for step in (1, 2):
            await clock.forward(TURN_SECONDS, waits=step, silent=silent)
        await world.until(lambda: seen == STEPS)
        await clock.forward(HOUR, waits=2, silent=silent)
        result = await waiting
        assert (result.affected, result.acknowledged, result.pending) == (2, 1, (f"shop/{silent}",))


async def test_a_mode_is_waited_for_until_the_sidecar_has_taken_its_last_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched_turn(world, monkeypatch):
        for mode in ("DISABLE", "STRICT", "DISABLE"):
            assert (await world.wait(world.objects.put(mtls("default", mode)))).pending == ()
            assert world.proxies["web-1"].inbound_version() == listener("inbound", version=mode).version


async def test_a_control_plane_killed_in_the_middle_of_a_turn_ends_it_after_its_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, Objects(service("web"), pod("web-1"), pod("api-1", address="10.0.0.2", app="api"), mtls("default", "DISABLE")))
    async with world.running(), watched_turn(world, monkeypatch) as seen:
        world.proxies["api-1"].hold_back()
        world.objects.put(mtls("default", "STRICT"))
        await world.until(lambda: seen[-1:] == STEPS[:1])
    again = World(tmp_path, world.objects)
    async with again.running(), watched_turn(again, monkeypatch) as seen:
        assert (await again.wait()).pending == ()
        assert again.proxies["web-1"].inbound_version() == listener("inbound", version="STRICT").version
