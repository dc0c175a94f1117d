import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import Metadata, ObjectKey
from hauberk.api.service import Service, ServicePort, ServiceSpec
from hauberk.sources.change import Delete, Event, Put
from hauberk.sources.draft import Draft, Stamps
from hauberk.sources.problems import Conflict, ResumeTooOld, StoreBusy, StoreUnreadable, StoreUnwritable, StoreVersionUnknown
from hauberk.sources.store import Store

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def stamps() -> Stamps:
    numbers = count(1)
    return Stamps(lambda: NOW, lambda: f"uid-{next(numbers)}")


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=Metadata(name=name, namespace="default"), data=data)


def service(name: str, port: int = 80) -> Service:
    return Service(metadata=Metadata(name=name, namespace="default"), spec=ServiceSpec(ports=(ServicePort(port=port),)))


def key(name: str, kind: str = "ConfigMap") -> ObjectKey:
    return ObjectKey(kind, "default", name)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db", stamps=stamps())
    yield opened
    await opened.close()


async def take(events: AsyncIterator[Event], number: int) -> list[str]:
    found: list[str] = []
    while len(found) < number:
        event = await anext(events)
        found.append(f"{event.type} {event.object.metadata.name} {event.revision}")
    return found


async def test_a_new_object_is_stamped(store: Store) -> None:
    await store.commit([Put(object=config_map("a"))])
    metadata = store.list("ConfigMap").items[0].metadata
    assert (metadata.uid, metadata.generation, metadata.resource_version, metadata.creation_timestamp) == ("uid-1", 1, "1", NOW)


async def test_generation_grows_with_what_the_user_wants_only(store: Store) -> None:
    await store.commit([Put(object=service("web"))])
    labelled = service("web").model_copy(update={"metadata": Metadata(name="web", namespace="default", labels={"a": "b"})})
    await store.commit([Put(object=labelled)])
    found = store.find(Service, "default", "web")
    assert found is not None
    assert (found.metadata.generation, found.metadata.resource_version) == (1, "2")
    await store.commit([Put(object=service("web", 81))])
    found = store.find(Service, "default", "web")
    assert found is not None
    assert (found.metadata.generation, found.metadata.resource_version) == (2, "3")


async def test_an_object_that_is_already_so_is_not_written_again(store: Store) -> None:
    await store.commit([Put(object=service("web"))])
    before = store.list("Service")
    assert await store.commit([Put(object=service("web"))]) == 1
    assert store.list("Service").items is before.items


async def test_a_commit_is_all_or_nothing(store: Store) -> None:
    await store.commit([Put(object=config_map("a", x="1"))])
    with pytest.raises(Conflict):
        await store.commit([Put(object=config_map("b")), Put(object=config_map("a", x="2"), expect="7")])
    assert [(item.metadata.name, item.metadata.resource_version) for item in store.list("ConfigMap").items] == [("a", "1")]


async def test_of_two_writers_who_saw_the_same_version_one_loses(store: Store) -> None:
    await store.commit([Put(object=config_map("a", x="1"), expect="")])
    outcomes = await asyncio.gather(
        store.commit([Put(object=config_map("a", x="2"), expect="1")]),
        store.commit([Put(object=config_map("a", x="3"), expect="1")]),
        return_exceptions=True,
    )
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], Conflict)


async def test_what_comes_together_is_decided_one_after_the_other(store: Store) -> None:
    def increment(draft: Draft) -> None:
        found = draft.find(ConfigMap, "default", "n")
        draft.put(config_map("n", n=str(int(found.data["n"]) + 1 if found else 1)))

    await asyncio.gather(*(store.transact(increment) for _ in range(50)))
    found = store.find(ConfigMap, "default", "n")
    assert found is not None
    assert found.data == {"n": "50"}


async def test_objects_survive_in_the_file(tmp_path: Path) -> None:
    first = Store(tmp_path / "objects.db")
    await first.commit([Put(object=service("web")), Put(object=config_map("a")), Put(object=config_map("b"))])
    await first.commit([Delete(key=key("b"))])
    kept = first.list()
    await first.close()
    second = Store(tmp_path / "objects.db")
    assert second.list() == kept
    assert second.revision == 4
    await second.close()


async def test_a_rehearsal_changes_nothing(store: Store) -> None:
    assert store.rehearse(lambda draft: draft.put(config_map("a")).metadata.resource_version) == "1"
    assert store.list().items == ()
    assert store.revision == 0


async def test_a_watch_without_revision_begins_with_all_there_is(store: Store) -> None:
    await store.commit([Put(object=config_map("a")), Put(object=config_map("b"))])
    events = store.watch(kinds=["ConfigMap"])
    assert await take(events, 2) == ["ADDED a 1", "ADDED b 2"]
    await store.commit([Put(object=service("web")), Delete(key=key("a"))])
    assert await take(events, 1) == ["DELETED a 4"]


async def test_a_watch_resumes_after_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path / "objects.db")
    await first.commit([Put(object=config_map(name)) for name in "abc"])
    await first.commit([Delete(key=key("a")), Put(object=config_map("b", x="1")), Put(object=config_map("d"))])
    await first.close()
    second = Store(tmp_path / "objects.db")
    assert await take(second.watch(since=3), 3) == ["DELETED a 4", "MODIFIED b 5", "ADDED d 6"]
    await second.close()


async def test_an_object_made_anew_is_told_as_an_end_and_a_beginning(store: Store) -> None:
    await store.commit([Put(object=config_map("a"))])
    await store.commit([Delete(key=key("a")), Put(object=config_map("a", x="1"))])
    assert await take(store.watch(since=1), 2) == ["DELETED a 2", "ADDED a 3"]


async def test_what_came_and_went_unseen_is_not_told(store: Store) -> None:
    await store.commit([Put(object=config_map("a"))])
    await store.commit([Delete(key=key("a"))])
    await store.commit([Put(object=config_map("b"))])
    assert await take(store.watch(since=0), 1) == ["ADDED b 3"]


async def test_a_watch_from_before_what_is_remembered_must_list_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db", history=10)
    for number in range(30):
        await store.commit([Put(object=config_map(f"a{number}"))])
        await store.commit([Delete(key=key(f"a{number}"))])
    with pytest.raises(ResumeTooOld):
        await anext(store.watch(since=1))
    assert await take(store.watch(since=59), 1) == ["DELETED a29 60"]
    await store.close()
    again = Store(tmp_path / "objects.db", history=10)
    with pytest.raises(ResumeTooOld):
        await anext(again.watch(since=1))
    await again.close()


async def test_a_watch_from_the_future_must_list_again(store: Store) -> None:
    with pytest.raises(ResumeTooOld):
        await anext(store.watch(since=5))


async def test_a_slow_watcher_gets_the_latest_state_in_one_step(store: Store) -> None:
    batches = store.subscribe(["ConfigMap"])
    assert await anext(batches) == ()
    for number in range(20):
        await store.commit([Put(object=config_map("a", n=str(number)))])
    events = await anext(batches)
    assert [(event.type, event.revision) for event in events] == [("ADDED", 20)]


async def test_a_write_that_fails_leaves_memory_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.commit([Put(object=config_map("a"))])
    events = store.watch(since=1)

    def full(*_: object, **__: object) -> None:
        raise StoreUnwritable("the disk is full", path=Path("objects.db"), hint="free some space")

    with monkeypatch.context() as patched, pytest.raises(StoreUnwritable):
        patched.setattr(store._database, "write", full)
        await store.commit([Put(object=config_map("b"))])
    assert store.list().revision == 1
    await store.commit([Put(object=config_map("c"))])
    assert await take(events, 1) == ["ADDED c 2"]


async def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db")
    await store.commit([Put(object=config_map("a"))])
    store._database._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(StoreUnwritable, match="disk is full"):
        await store.commit([Put(object=config_map("big", x="x" * 100_000))])
    store._database._connection.execute("PRAGMA max_page_count = 100000")
    await store.commit([Put(object=config_map("b"))])
    await store.close()
    again = Store(tmp_path / "objects.db")
    assert [item.metadata.name for item in again.list().items] == ["a", "b"]
    await again.close()


async def test_a_caller_who_gives_up_does_not_part_memory_from_file(store: Store) -> None:
    task = asyncio.create_task(store.commit([Put(object=config_map("a"))]))
    await asyncio.sleep(0)
    task.cancel()
    await store.commit([Put(object=config_map("b"))])
    names = [item.metadata.name for item in store.list().items]
    assert names in (["a", "b"], ["b"])
    assert [entry.object.metadata.name for entry in store._database.entries()] == names


async def test_there_is_one_writer(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.sources.database.PATIENCE", 0.01)
    await store.commit([Put(object=config_map("a"))])
    with pytest.raises(StoreBusy, match="another control plane"):
        Store(tmp_path / "objects.db")


def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE entries (x)")
        connection.execute(f"PRAGMA application_id = {0x48424B31}")
        connection.execute("PRAGMA user_version = 77")
    before = path.read_bytes()
    with pytest.raises(StoreVersionUnknown, match=r"version 77.*objects\.db.*down --purge"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, but text" * 100, None])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "objects.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE somebody_elses (x)")
    else:
        path.write_bytes(content)
    with pytest.raises(StoreUnreadable, match=r"objects\.db"):
        Store(path)


def test_a_directory_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="state directory"):
        Store(tmp_path / "absent" / "objects.db")
