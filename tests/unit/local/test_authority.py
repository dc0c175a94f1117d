from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import Metadata
from hauberk.api.pod import Pod
from hauberk.api.service import Service
from hauberk.api.service_account import ServiceAccount
from hauberk.citadel.attestation import AttestationRefused, Caller
from hauberk.identity.wire import AgentSubject, EntrySubject, PodSubject
from hauberk.local.authority import StoreAttestor
from hauberk.sources.change import Put
from hauberk.sources.store import Store


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db")
    document = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"serviceAccountName": "front", "nodeName": "here", "containers": [{"name": "a", "command": ["x"]}]},
    }
    await opened.commit([Put(object=Pod.model_validate(document))])
    yield opened
    await opened.close()


CALLER = Caller(node="here", own=True, evidence=(("socket", "test"),))


@pytest.fixture
def attestor(store: Store) -> StoreAttestor:
    return StoreAttestor(store, lambda: "cluster.local", takes_part=lambda node: node == "here")


def claim(store: Store) -> PodSubject:
    pod = store.find(Pod, "shop", "web")
    assert pod is not None
    return PodSubject(namespace="shop", name="web", uid=pod.metadata.uid)


async def declare(store: Store, mesh: str = "{}") -> None:
    settings = ConfigMap(metadata=Metadata(name="istio", namespace="istio-system"), data={"mesh": mesh})
    await store.commit([Put(object=ServiceAccount(metadata=Metadata(name="front", namespace="shop"))), Put(object=settings)])


async def test_an_identity_that_nobody_declared_is_not_certified(store: Store, attestor: StoreAttestor) -> None:
    with pytest.raises(AttestationRefused, match="runs as ServiceAccount front, which does not exist in shop"):
        attestor.attest(claim(store), CALLER)
    await declare(store)
    attested = attestor.attest(claim(store), CALLER)
    assert str(attested.spiffe_id) == "spiffe://cluster.local/ns/shop/sa/front"
    assert attested.holder == f"pod shop/web {claim(store).uid}"
    assert (attested.evidence["placedOn"], attested.evidence["socket"]) == ("here", "test")


async def test_an_agent_gets_nothing_for_a_pod_of_another_machine(store: Store, attestor: StoreAttestor) -> None:
    await declare(store)
    with pytest.raises(AttestationRefused, match="does not run on node 'there'"):
        attestor.attest(claim(store), Caller(node="there"))


async def test_an_agent_is_its_machines_own_and_no_others(attestor: StoreAttestor) -> None:
    attested = attestor.attest(AgentSubject(), CALLER)
    assert (str(attested.spiffe_id), attested.holder) == ("spiffe://cluster.local/hauberk/agent/here", "agent here")
    with pytest.raises(AttestationRefused, match="takes no part"):
        attestor.attest(AgentSubject(), Caller(node="stranger"))


async def test_the_meshs_settings_say_how_long_a_certificate_lives(store: Store, attestor: StoreAttestor) -> None:
    await declare(store, "hauberk: {certificateLifetime: 10s}")
    assert attestor.attest(claim(store), CALLER).lifetime == timedelta(seconds=10)


def service(name: str, namespace: str, **selector: str) -> Service:
    spec = {"ports": [{"port": 80}], "selector": selector}
    return Service.model_validate({"metadata": {"name": name, "namespace": namespace}, "spec": spec})


async def test_certificates_name_the_services_of_a_pod_only_if_the_settings_say_so(store: Store, attestor: StoreAttestor) -> None:
    pod = store.find(Pod, "shop", "web")
    assert pod is not None
    labelled = pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"labels": {"app": "web", "tier": "front"}})})
    services = [service("web", "shop", app="web"), service("front", "shop", tier="front"), service("api", "shop", app="api")]
    others = [service("by-hand", "shop"), service("web", "elsewhere", app="web")]
    await store.commit([Put(object=each) for each in (labelled, *services, *others)])
    await declare(store)
    plain = attestor.attest(claim(store), CALLER)
    assert plain.dns_names == ()
    await declare(store, "hauberk: {dnsNames: true}")
    named = attestor.attest(claim(store), CALLER)
    assert sorted(named.dns_names) == ["front.shop.svc", "front.shop.svc.cluster.local", "web.shop.svc", "web.shop.svc.cluster.local"]
    assert replace(named, dns_names=()) == plain


async def test_an_entry_of_the_settings_gets_its_identity_on_the_evidence_it_wants(store: Store, attestor: StoreAttestor) -> None:
    await declare(store, "hauberk: {workloadEntries: [{name: cron, serviceAccount: shop/front, selectors: {uid: 1000}}]}")
    attested = attestor.attest(EntrySubject(name="cron", evidence=(("uid", "1000"),)), CALLER)
    assert (str(attested.spiffe_id), attested.holder) == ("spiffe://cluster.local/ns/shop/sa/front", "entry cron")
    with pytest.raises(AttestationRefused, match="uid"):
        attestor.attest(EntrySubject(name="cron", evidence=(("uid", "0"),)), CALLER)
