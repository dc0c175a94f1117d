import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from hauberk.api.condition import Condition
from hauberk.api.metadata import Metadata
from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodIP, PodStatus
from hauberk.api.service import Service
from hauberk.local.names import NamesTable
from hauberk.sources.change import Put
from hauberk.sources.store import Store


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db")
    yield opened
    await opened.close()


def service(name: str, **spec: Any) -> Service:
    return Service.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": 80}], **spec}})


def pod(name: str, address: str, *, ready: bool = True) -> Pod:
    bare = Pod.model_validate(
        {
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "db"}},
            "spec": {"hostname": name, "subdomain": "db", "containers": [{"name": "a", "command": ["x"]}]},
        }
    )
    condition = Condition(type="Ready", status="True" if ready else "False")
    return bare.model_copy(update={"status": PodStatus(pod_ip=address, pod_ips=(PodIP(ip=address),), conditions=(condition,))})


WEB = service("web", clusterIP="10.96.0.20", clusterIPs=["10.96.0.20", "fd00:10:96::20"])
DB = service("db", clusterIP="None", selector={"app": "db"})


async def test_a_service_has_its_addresses_and_a_headless_one_its_ready_pods(store: Store) -> None:
    await store.commit([Put(object=each) for each in (WEB, DB, pod("db-0", "10.244.0.5"), pod("db-1", "10.244.0.6", ready=False))])
    table = NamesTable(store).table()
    assert table["services"]["web.shop"] == {"addresses": ["10.96.0.20", "fd00:10:96::20"], "headless": False, "endpoints": []}
    endpoints = [{"hostname": "db-0", "addresses": ["10.244.0.5"]}]
    assert table["services"]["db.shop"] == {"addresses": [], "headless": True, "endpoints": endpoints}
    assert json.loads(json.dumps(table))["revision"] == "4"


async def test_a_table_is_told_again_only_when_it_says_something_else(store: Store) -> None:
    await store.commit([Put(object=WEB)])
    tables = NamesTable(store).tables()
    assert list((await anext(tables))["services"]) == ["web.shop"]
    labelled = WEB.model_copy(update={"metadata": Metadata(name="web", namespace="shop", labels={"a": "b"})})
    await store.commit([Put(object=pod("x", "10.244.0.9")), Put(object=labelled)])
    await store.commit([Put(object=DB)])
    assert sorted((await anext(tables))["services"]) == ["db.shop", "web.shop"]
