"""What the API names, as what the authority revokes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.unit.citadel.rig import opened

from hauberk.api.pod import Pod
from hauberk.citadel.revocation import NotRevoked, Revocations
from hauberk.local import revoker as revoker_module
from hauberk.local.revoker import StoreRevoker
from hauberk.sources.store import Store

IDENTITY = "spiffe://cluster.local/ns/shop/sa/web"
SERIAL = "a" * 32


SPEC = {"containers": [{"name": "main", "command": ["true"]}]}
POD = Pod.model_validate({"metadata": {"name": "web", "namespace": "shop"}, "spec": SPEC})


def uid(store: Store) -> str:
    found = store.find(Pod, "shop", "web")
    assert found is not None
    return found.metadata.uid


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "objects.db")
    await made.transact(lambda draft: draft.put(POD))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def revoker(tmp_path: Path, store: Store) -> AsyncIterator[StoreRevoker]:
    with opened(tmp_path) as citadel:
        yield StoreRevoker(store, Revocations(citadel.ground, citadel.authorities))


async def revoke(revoker: StoreRevoker, *, pod: str = "", serial: str = "", identity: str = "") -> tuple[str, str]:
    row = (await revoker.revoke(pod=pod, serial=serial, identity=identity, reason="", by="uid 0", wait=0.0))["revocation"]
    return row["what"], row["value"]


async def test_a_pod_is_meant_by_its_uid_so_that_its_successor_is_another(revoker: StoreRevoker, store: Store) -> None:
    assert await revoke(revoker, pod="shop/web") == ("pod", uid(store))


async def test_serials_and_identities_are_meant_as_they_are(revoker: StoreRevoker) -> None:
    assert await revoke(revoker, serial=SERIAL) == ("serial", SERIAL)
    assert await revoke(revoker, identity=IDENTITY) == ("identity", IDENTITY)
    assert [each["what"] for each in revoker.revocations()["items"]] == ["identity", "serial"]


@pytest.mark.parametrize("serial", ["a" * 31, "A" * 32, "a" * 33, "g" * 32, "aa:" * 10 + "aa"])
async def test_a_serial_has_one_spelling(revoker: StoreRevoker, serial: str) -> None:
    with pytest.raises(ValueError, match="no serial"):
        await revoke(revoker, serial=serial)


@pytest.mark.parametrize(
    "identity",
    [
        "spiffe://cluster.local",
        "spiffe://cluster.local/ns/shop/sa/../sa/web",
        "spiffe://cluster.local/ns/shop/sa/w%65b",
        "spiffe://Cluster.local/ns/shop/sa/web",
        "SPIFFE://cluster.local/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web/",
        "spiffe://cluster.local/hauberk/agent/node",
        "https://cluster.local/ns/shop/sa/web",
    ],
)
async def test_what_is_no_workloads_name_is_refused(revoker: StoreRevoker, identity: str) -> None:
    with pytest.raises(ValueError):
        await revoke(revoker, identity=identity)
    assert revoker.revocations() == {"items": []}


async def test_one_thing_is_revoked_at_a_time(revoker: StoreRevoker) -> None:
    for given in ({}, {"serial": SERIAL, "identity": IDENTITY}):
        with pytest.raises(ValueError, match="one thing"):
            await revoke(revoker, **given)


async def test_a_pod_that_is_not_there_cannot_be_revoked(revoker: StoreRevoker) -> None:
    with pytest.raises(LookupError, match="no pod shop/nobody"):
        await revoke(revoker, pod="shop/nobody")
    with pytest.raises(ValueError, match="namespace/name"):
        await revoke(revoker, pod="web")


async def test_what_was_revoked_of_a_name_is_undone_also_when_the_pod_is_another_by_now(revoker: StoreRevoker, store: Store) -> None:
    await revoke(revoker, pod="shop/web")
    first = uid(store)
    await store.transact(lambda draft: draft.delete(POD.key))
    await store.transact(lambda draft: draft.put(POD))
    assert uid(store) != first
    await revoke(revoker, pod="shop/web")
    await revoker.undo(pod="shop/web", serial="", identity="", by="uid 0", wait=0.0)
    assert revoker.revocations() == {"items": []}
    with pytest.raises(NotRevoked):
        await revoker.undo(pod="shop/web", serial="", identity="", by="uid 0", wait=0.0)


async def test_it_waits_for_every_proxy_and_names_those_that_have_not_confirmed(tmp_path: Path, store: Store) -> None:
    answers = [("node here: its agent has not confirmed",), ("pod shop/a on node here",), ()]
    with opened(tmp_path) as citadel:
        asked: list[int] = []

        def missing(sequence: int) -> tuple[str, ...]:
            asked.append(sequence)
            return answers[min(len(asked), len(answers)) - 1]

        reported = asyncio.Event()
        revoker = StoreRevoker(store, Revocations(citadel.ground, citadel.authorities), missing=missing, reported=reported)
        hasty = await revoker.revoke(pod="shop/web", serial="", identity="", reason="", by="uid 0", wait=0.0)
        assert hasty["pending"] == list(answers[0])
        reported.set()
        patient = await revoker.undo(pod="shop/web", serial="", identity="", by="uid 0", wait=30.0)
        assert patient["pending"] == []
        assert asked == [hasty["trustSequence"], *[patient["trustSequence"]] * 2]


async def test_who_has_not_confirmed_is_asked_for_when_somebody_has_reported(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoker_module, "_MOST_SECONDS", 60.0)
    looked, reported, asked = asyncio.Event(), asyncio.Event(), 0

    def missing(_: int) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        looked.set()
        return () if reported.is_set() else ("node here",)

    with opened(tmp_path) as citadel:
        revoker = StoreRevoker(store, Revocations(citadel.ground, citadel.authorities), missing=missing, reported=reported)
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(revoker.revoke(pod="shop/web", serial="", identity="", reason="", by="uid 0", wait=60.0))
            await looked.wait()
            reported.set()
    assert (answering.result()["pending"], asked) == ([], 2)


async def test_while_the_mesh_is_renamed_an_identity_is_revoked_under_each_of_its_names(tmp_path: Path, store: Store) -> None:
    with opened(tmp_path) as citadel:
        revoker = StoreRevoker(store, Revocations(citadel.ground, citadel.authorities), names=lambda: ("new.example", "cluster.local"))
        await revoke(revoker, identity=IDENTITY)
        renamed = IDENTITY.replace("cluster.local", "new.example")
        assert {each["value"] for each in revoker.revocations()["items"]} == {IDENTITY, renamed}
        await revoke(revoker, identity="spiffe://b.td/ns/shop/sa/web")
        await revoker.undo(pod="", serial="", identity=IDENTITY, by="uid 0", wait=0.0)
        assert [each["value"] for each in revoker.revocations()["items"]] == ["spiffe://b.td/ns/shop/sa/web"]
