"""The settings' names for the mesh, taken over by the authority when it is proven that everybody is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest_asyncio
from tests.unit.citadel.rig import opened

from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import KEY, NAME, ROOT_NAMESPACE
from hauberk.api.metadata import Metadata
from hauberk.citadel.authority import Citadel
from hauberk.citadel.federation_settings import FederationSettings
from hauberk.citadel.federations import Federations
from hauberk.citadel.nodes import Nodes
from hauberk.citadel.renaming import Renaming
from hauberk.citadel.revocation import Revocations, Target
from hauberk.citadel.state_revocations import What
from hauberk.local.naming import Naming
from hauberk.pilot.pilot import Pilot
from hauberk.pilot.status import PushResult
from hauberk.sources.store import Store

OLD, NEW = "cluster.local", "new.example"


@dataclass
class PlayedPilot:
    """Proxies that have acknowledged, or `pending` ones that have not."""

    pending: tuple[str, ...] = ()

    async def wait(self, revision: int, timeout: float) -> PushResult:
        return PushResult(affected=2, acknowledged=2 - len(self.pending), pending=self.pending)


@dataclass
class World:
    store: Store
    citadel: Citadel
    pilot: PlayedPilot
    revocations: Revocations
    naming: Naming

    async def call_it(self, name: str, *aliases: str) -> None:
        text = f"trustDomain: {name}\ntrustDomainAliases: [{', '.join(aliases)}]\n"
        config = ConfigMap(metadata=Metadata(name=NAME, namespace=ROOT_NAMESPACE), data={KEY: text})
        await self.store.transact(lambda draft: draft.put(config))

    @property
    def names(self) -> tuple[str, ...]:
        return (self.citadel.trust.trust_domain, *self.citadel.trust.aliases)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store, pilot = Store(tmp_path / "objects.db"), PlayedPilot()
    with opened(tmp_path) as citadel:
        revocations = Revocations(citadel.ground, citadel.authorities)
        naming = Naming(
            store,
            Renaming(citadel),
            nodes=Nodes.open(citadel.ground.state),
            federations=Federations(citadel.ground, FederationSettings()),
            revocations=revocations,
            pilot=cast("Pilot", pilot),
        )
        yield World(store, citadel, pilot, revocations, naming)
    await store.close()


async def test_without_settings_nothing_changes(world: World) -> None:
    sequence = world.citadel.trust.sequence
    await world.naming.look()
    assert (world.names, world.citadel.trust.sequence) == ((OLD,), sequence)


async def test_an_alias_is_told_and_left_out_again(world: World) -> None:
    await world.call_it(OLD, NEW)
    await world.naming.look()
    assert list(world.names) == [OLD, NEW]
    await world.call_it(OLD)
    await world.naming.look()
    assert list(world.names) == [OLD]


async def test_the_name_changes_only_when_every_proxy_has_acknowledged_both(world: World) -> None:
    await world.call_it(NEW, OLD)
    world.pilot.pending = ("shop/web",)
    await world.naming.look()
    assert world.names == (OLD, NEW)
    world.pilot.pending = ()
    await world.naming.look()
    assert world.names == (NEW, OLD)
    await world.naming.look()
    assert world.names == (NEW, OLD)


async def test_who_is_revoked_by_name_stays_revoked_under_the_new_one(world: World) -> None:
    path = "/ns/shop/sa/web"
    for domain in (OLD, "b.td"):
        value = f"spiffe://{domain}{path}"
        await world.revocations.revoke(Target(what=What.IDENTITY, value=value, name=value), by="jo", reason="stolen")
    await world.call_it(NEW, OLD)
    await world.naming.look()
    assert {row.value for row in world.revocations.all} == {f"spiffe://{domain}{path}" for domain in (OLD, NEW, "b.td")}


async def test_admission_is_told_what_would_cut_somebody_off(world: World) -> None:
    assert world.naming.fault(OLD, (NEW,)) is None
    fault = world.naming.fault(NEW, ())
    assert fault is not None
    assert fault[0].startswith("the trust domain is cluster.local")
