import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from tests.unit.workloads.makers import NOW, deployment

from hauberk.api.condition import Condition
from hauberk.api.deployment import Deployment
from hauberk.api.metadata import Metadata, ObjectKey
from hauberk.api.namespace import Namespace
from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodStatus
from hauberk.api.service_account import ServiceAccount
from hauberk.sources.change import Delete, Put
from hauberk.sources.draft import Draft
from hauberk.sources.problems import StoreUnwritable
from hauberk.sources.removal import remove
from hauberk.sources.store import Store
from hauberk.workloads import controller
from hauberk.workloads.controller import Chance, Workloads


class Mesh:
    """A store under the controller's care, and an agent that does what it is told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW

    async def put(self, *items: Any) -> None:
        await self.store.commit([Put(object=item) for item in items])

    async def until(self, count: int, **wanted: int) -> Deployment:
        """The Deployment as soon as it has so many pods that stay and a status of these numbers."""
        async for _ in self.store.subscribe():
            found = self.store.find(Deployment, "default", "web")
            if found and len(self.staying()) == count and all(getattr(found.status, name) == value for name, value in wanted.items()):
                return found
        raise AssertionError

    def pods(self) -> list[Pod]:
        return list(self.store.of(Pod))

    def staying(self) -> list[Pod]:
        return [each for each in self.pods() if each.metadata.deletion_timestamp is None]

    async def all_ready(self) -> None:
        ready = PodStatus(conditions=(Condition(type="Ready", status="True", last_transition_time=self.now),))
        await self.put(*(each.model_copy(update={"status": ready}) for each in self.staying()))

    async def finish_going(self) -> None:
        await self.store.commit([Delete(key=each.key) for each in self.pods() if each.metadata.deletion_timestamp])


def account(name: str = "default") -> ServiceAccount:
    return ServiceAccount(metadata=Metadata(name=name, namespace="default"))


@asynccontextmanager
async def controlled(path: Path, others: Collection[str] = ()) -> AsyncIterator[Mesh]:
    store = Store(path / "objects.db")
    mesh = Mesh(store)
    letters = cycle("bcdfghjklmnpqrstvwxz")
    chance = Chance(now=lambda: mesh.now, choose=lambda _: next(letters))
    workloads = Workloads(store, node="here", others=lambda: others, chance=chance)
    await mesh.put(Namespace(metadata=Metadata(name="default")), account())
    task = asyncio.create_task(workloads.run())
    try:
        async with asyncio.timeout(20):
            yield mesh
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def test_a_deployment_gets_its_pods_and_hears_of_them(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(3))
        await mesh.until(3, updated_replicas=3, available_replicas=0)
        await mesh.all_ready()
        done = await mesh.until(3, available_replicas=3)
        assert {each.spec.node_name for each in mesh.pods()} == {"here"}
        assert all(each.metadata.name.startswith("web-") and len(each.metadata.owner_references) == 1 for each in mesh.pods())
        assert done.status.observed_generation == done.metadata.generation


async def test_a_deleted_pod_is_replaced(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(1))
        await mesh.until(1)
        first = mesh.staying()[0]
        await mesh.store.transact(lambda draft: remove(draft, first, NOW))
        await mesh.until(1)
        assert mesh.staying()[0].metadata.name != first.metadata.name


async def test_a_changed_template_rolls_through_all_pods(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(3, version="v1"))
        await mesh.until(3)
        await mesh.all_ready()
        await mesh.until(3, available_replicas=3)
        before = {each.metadata.name for each in mesh.pods()}
        await mesh.put(deployment(3))
        while {each.metadata.name for each in mesh.staying()} & before or len(mesh.staying()) != 3:
            seen = mesh.store.revision
            assert sum(each.status.ready for each in mesh.staying()) >= 3
            await mesh.all_ready()
            await mesh.finish_going()
            if mesh.store.revision == seen:
                await mesh.store.beyond(seen)
        assert {each.spec.containers[0].command for each in mesh.staying()} == {("serve", "v2")}


async def test_pods_go_with_their_deployment(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(2))
        await mesh.until(2)
        await mesh.store.commit([Delete(key=ObjectKey("Deployment", "default", "web"))])
        while mesh.staying():
            await mesh.store.beyond(mesh.store.revision)
        assert len(mesh.pods()) == 2


async def test_without_its_service_account_no_pod_is_made_until_it_comes(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        wanted = deployment(1)
        spec = wanted.spec.template.spec.model_copy(update={"service_account_name": "web"})
        template = wanted.spec.template.model_copy(update={"spec": spec})
        await mesh.put(wanted.model_copy(update={"spec": wanted.spec.model_copy(update={"template": template})}))
        refused = await mesh.until(0, observed_generation=1)
        assert [(each.type, each.reason) for each in refused.status.conditions][-1] == ("ReplicaFailure", "FailedCreate")
        await mesh.put(account("web"))
        await mesh.until(1)


async def test_a_stuck_rollout_is_told_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(1, progressDeadlineSeconds=1))
        await mesh.until(1, observed_generation=1)
        mesh.now += timedelta(seconds=2)
        found = await mesh.until(1)
        while not any(each.reason == "ProgressDeadlineExceeded" for each in found.status.conditions):
            await mesh.store.beyond(mesh.store.revision)
            found = await mesh.until(1)


async def test_pods_that_cannot_start_cause_no_further_writes(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(1))
        await mesh.until(1, observed_generation=1)
        failed = mesh.staying()[0].model_copy(update={"status": PodStatus(phase="Failed", reason="NoSuchProgram", message="/nope")})
        await mesh.put(failed)
        told = await mesh.until(1, unavailable_replicas=1)
        while not any(each.type == "ReplicaFailure" for each in told.status.conditions):
            await mesh.store.beyond(mesh.store.revision)
            told = await mesh.until(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await mesh.store.beyond(mesh.store.revision)


async def test_a_store_that_cannot_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "RETRY_SECONDS", 0.01)
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(0))
        await mesh.until(0, observed_generation=1)
        transact, failures = mesh.store.transact, 0

        async def failing(decide: Any) -> Any:
            nonlocal failures
            if "Workloads" in getattr(decide, "__qualname__", "") and failures < 3:
                failures += 1
                raise StoreUnwritable("the disk is full", path=tmp_path, hint="free some space")
            return await transact(decide)

        monkeypatch.setattr(mesh.store, "transact", failing)
        await mesh.put(deployment(2))
        await mesh.until(2)
        assert failures == 3


async def test_a_namespace_goes_when_the_last_pod_in_it_is_gone(tmp_path: Path) -> None:
    async with controlled(tmp_path) as mesh:
        await mesh.put(deployment(1))
        await mesh.until(1)

        def end(draft: Draft) -> None:
            namespace = draft.find(Namespace, "", "default")
            assert namespace is not None
            remove(draft, namespace, NOW)

        await mesh.store.transact(end)
        assert [each.kind for each in mesh.store.list().items] == ["Namespace", "Pod"]
        await mesh.finish_going()
        while mesh.store.list().items:
            await mesh.store.beyond(mesh.store.revision)


async def test_pods_of_a_deployment_run_where_its_template_says_while_that_machine_takes_part(tmp_path: Path) -> None:
    async with controlled(tmp_path, others=("n2",)) as mesh:
        for name, node in (("web", "n2"), ("api", "gone")):
            made = deployment(1)
            template = made.spec.template.model_copy(update={"spec": made.spec.template.spec.model_copy(update={"node_name": node})})
            spec = made.spec.model_copy(update={"template": template})
            await mesh.put(made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name, "uid": ""}), "spec": spec}))
        async for _ in mesh.store.subscribe():
            if len(mesh.pods()) == 2:
                break
        assert {each.metadata.name[:3]: each.spec.node_name for each in mesh.pods()} == {"web": "n2", "api": "here"}
