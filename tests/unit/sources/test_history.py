"""Versions of objects: what is kept, what was so when, and how much of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from hauberk.api.authorization_policy import AuthorizationPolicy, AuthorizationPolicySpec
from hauberk.api.authorization_rule import Action
from hauberk.api.config_map import ConfigMap
from hauberk.api.container import Container, ContainerPort, EnvVar
from hauberk.api.metadata import Metadata, ObjectKey
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.pod_status import ContainerStatus, PodStatus
from hauberk.sources.change import Delete, Entry, Put
from hauberk.sources.history import BEFORE, recorded_text
from hauberk.sources.history_table import HistoryTable
from hauberk.sources.store import Store

BEGIN = datetime.now(UTC)  # a store that is opened finds what is there as of now
KEY = ObjectKey("AuthorizationPolicy", "shop", "orders")


class Hours:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def at(self, hour: float) -> datetime:
        self.now = BEGIN + timedelta(hours=hour)
        return self.now


def policy(action: Action, name: str = "orders") -> AuthorizationPolicy:
    return AuthorizationPolicy(metadata=Metadata(name=name, namespace="shop"), spec=AuthorizationPolicySpec(action=action))


def pod(*, ip: str = "10.0.0.1", restarts: int = 0) -> Pod:
    container = Container(
        name="app", command=("serve",), env=(EnvVar(name="TOKEN", value="hush"),), ports=(ContainerPort(container_port=80),)
    )
    status = PodStatus(phase="Running", pod_ip=ip, container_statuses=(ContainerStatus(name="app", restart_count=restarts),))
    return Pod(metadata=Metadata(name="web", namespace="shop", labels={"app": "web"}), spec=PodSpec(containers=(container,)), status=status)


def actions(objects: tuple[object, ...]) -> list[str]:
    return [each.spec.action.value for each in objects if isinstance(each, AuthorizationPolicy)]


@pytest.fixture
def clock() -> Hours:
    return Hours()


@pytest_asyncio.fixture
async def store(tmp_path: Path, clock: Hours) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db", moment=clock)
    yield opened
    await opened.close()


async def test_objects_are_told_as_they_were_at_any_moment(store: Store, clock: Hours) -> None:
    clock.at(1)
    await store.commit([Put(object=policy(Action.ALLOW))])
    clock.at(2)
    await store.commit([Put(object=policy(Action.DENY))])
    clock.at(3)
    await store.commit([Delete(key=KEY)])
    told = [actions((await store.past(BEGIN + timedelta(hours=hour))).objects) for hour in (0.5, 1, 1.5, 2, 2.5, 3, 4)]
    assert told == [[], ["ALLOW"], ["ALLOW"], ["DENY"], ["DENY"], [], []]


async def test_who_changed_an_object_and_what_it_was_before_is_kept(store: Store, clock: Hours) -> None:
    clock.at(1)
    await store.transact(lambda draft: draft.put(policy(Action.ALLOW)), author="jo")
    clock.at(2)
    await store.transact(lambda draft: draft.put(policy(Action.DENY)), author="sam")
    await store.transact(lambda draft: draft.delete(KEY), author="kim")
    versions = await store.versions("AuthorizationPolicy", "shop", "orders")
    assert [(each.event.value, each.author) for each in versions] == [("deleted", "kim"), ("changed", "sam"), ("created", "jo")]
    assert '"ALLOW"' in versions[2].document
    assert versions[2].until == BEGIN + timedelta(hours=2)


async def test_what_decides_nothing_makes_no_version(store: Store) -> None:
    await store.commit([Put(object=pod())])
    await store.commit([Put(object=pod(restarts=1))])
    await store.commit([Put(object=ConfigMap(metadata=Metadata(name="app", namespace="shop"), data={"a": "b"}))])
    assert [each.key.kind for each in await store.versions()] == ["Pod"]
    await store.commit([Put(object=pod(ip="10.0.0.2"))])
    assert len(await store.versions()) == 2


def test_a_pod_s_environment_is_not_kept() -> None:
    assert "hush" not in recorded_text(pod())


async def test_history_survives_the_end_of_the_process(tmp_path: Path, clock: Hours) -> None:
    store = Store(tmp_path / "objects.db", moment=clock)
    clock.at(1)
    await store.commit([Put(object=policy(Action.ALLOW))])
    await store.close()
    store = Store(tmp_path / "objects.db", moment=clock)
    clock.at(2)
    await store.commit([Put(object=policy(Action.DENY))])
    assert actions((await store.past(BEGIN + timedelta(hours=1.5))).objects) == ["ALLOW"]
    assert [each.event.value for each in await store.versions()] == ["changed", "created"]
    await store.close()


async def test_a_store_without_history_begins_one_and_says_since_when(tmp_path: Path) -> None:
    store = Store(tmp_path / "objects.db")
    await store.commit([Put(object=policy(Action.ALLOW))])
    await store.close()
    with sqlite3.connect(tmp_path / "objects.db") as connection:
        connection.execute("DROP TABLE versions")
        connection.execute("DELETE FROM marks WHERE name = 'history'")
    connection.close()
    store = Store(tmp_path / "objects.db")
    before, now = await store.past(BEGIN - timedelta(hours=1)), await store.past(datetime.now(UTC))
    assert (before.complete, now.complete) == (False, True)
    assert actions(now.objects) == ["ALLOW"]
    assert [each.event.value for each in await store.versions()] == ["found"]
    await store.close()


async def test_a_clock_that_is_set_back_does_not_disturb_the_order(store: Store, clock: Hours) -> None:
    clock.at(2)
    await store.commit([Put(object=policy(Action.ALLOW))])
    clock.at(1)
    await store.commit([Put(object=policy(Action.DENY))])
    assert actions((await store.past(BEGIN + timedelta(hours=2))).objects) == ["DENY"]


def table(limit: int = 1 << 20) -> HistoryTable:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE marks (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    made = HistoryTable(connection, age=timedelta(days=1), limit=limit)
    made.open((), BEFORE)
    return made


def put(history: HistoryTable, number: int, now: datetime, name: str = "orders") -> None:
    item = policy(Action.DENY if number % 2 else Action.ALLOW, name)
    history.settle(history.write([Entry(item, number, number)], now))
    history.prune(now)


def test_what_ended_too_long_ago_goes_and_what_still_is_stays() -> None:
    history = table()
    put(history, 1, BEGIN)
    put(history, 1, BEGIN, "lasting")
    put(history, 2, BEGIN + timedelta(hours=1))
    put(history, 3, BEGIN + timedelta(hours=30))
    past = history.at(BEGIN + timedelta(hours=2))
    assert past.complete
    assert actions(past.objects) == ["DENY", "ALLOW"]
    assert not history.at(BEGIN).complete
    assert len(history.versions(None, None, None, 10)) == 3


def test_a_full_history_lets_the_oldest_go_and_keeps_its_size() -> None:
    history = table(limit=5_000)
    for number in range(200):
        put(history, number, BEGIN + timedelta(minutes=number))
    (size,) = history.connection.execute("SELECT sum(length(document)) FROM versions").fetchone()
    assert size < 6_000
    assert actions(history.at(BEGIN + timedelta(minutes=199)).objects) == ["DENY"]
    assert BEGIN < history.beginning < BEGIN + timedelta(minutes=199)


def test_a_process_that_is_killed_leaves_object_and_version_or_neither(tmp_path: Path) -> None:
    script = """
import asyncio, os, sys
from pathlib import Path
from tests.unit.sources.test_history import policy
from hauberk.api.authorization_rule import Action
from hauberk.sources.change import Put
from hauberk.sources.store import Store
async def main():
    store = Store(Path(sys.argv[1]))
    for number in range(1000):
        await store.commit([Put(object=policy(Action.DENY if number % 2 else Action.ALLOW))])
        if number == 7:
            asyncio.get_running_loop().call_soon(os._exit, 9)
asyncio.run(main())
"""
    path = tmp_path / "objects.db"
    top = str(Path(__file__).resolve().parents[3])
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=top, env={**os.environ, "PYTHONPATH": top}, check=False)
    assert done.returncode == 9
    with sqlite3.connect(path) as connection:
        (revision,) = connection.execute("SELECT revision FROM entries WHERE name = 'orders'").fetchone()
        assert connection.execute("SELECT revision FROM versions WHERE until IS NULL").fetchall() == [(revision,)]
        assert connection.execute("SELECT count(*) FROM versions").fetchone() == (revision,)
    connection.close()
