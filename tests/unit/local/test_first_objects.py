from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode, PeerAuthentication
from hauberk.local.first_objects import declared_trust_domains, put_first_objects
from hauberk.sources.change import Delete
from hauberk.sources.store import Store


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db")
    yield opened
    await opened.close()


async def test_a_fresh_mesh_has_its_namespaces_and_demands_mutual_tls(store: Store) -> None:
    await store.transact(lambda draft: put_first_objects(draft, fresh=True))
    assert [str(each.key) for each in store.list().items] == [
        "Namespace/default",
        "Namespace/istio-system",
        "PeerAuthentication/istio-system/default",
        "ServiceAccount/default/default",
        "ServiceAccount/istio-system/default",
    ]
    policy = store.find(PeerAuthentication, "istio-system", "default")
    assert policy is not None
    assert policy.spec.mtls.mode is MtlsMode.STRICT


async def test_a_later_start_restores_the_namespaces_and_nothing_else(store: Store) -> None:
    await store.transact(lambda draft: put_first_objects(draft, fresh=True))
    gone = [ObjectKey("PeerAuthentication", "istio-system", "default"), ObjectKey("ServiceAccount", "default", "default")]
    await store.commit([Delete(key=key) for key in gone])
    await store.transact(lambda draft: put_first_objects(draft, fresh=False))
    assert [store.get(key) is None for key in gone] == [True, False]


async def test_another_trust_domain_is_a_visible_setting(store: Store) -> None:
    assert store.rehearse(declared_trust_domains) == ("cluster.local",)
    await store.transact(lambda draft: put_first_objects(draft, fresh=True, trust_domain="shop.example"))
    assert store.rehearse(declared_trust_domains) == ("shop.example",)
