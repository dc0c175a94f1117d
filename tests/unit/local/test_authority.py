from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import Metadata
from hauberk.api.pod import Pod
from hauberk.api.service_account import ServiceAccount
from hauberk.citadel.authority import Citadel
from hauberk.citadel.settings import CitadelSettings
from hauberk.local.authority import ServiceAccountAbsent, StoreAuthority
from hauberk.sources.change import Put
from hauberk.sources.store import Store

NOW = datetime(2026, 7, 1, tzinfo=UTC)


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


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


@pytest.fixture
def authority(store: Store, tmp_path: Path) -> StoreAuthority:
    citadel = Citadel.open(tmp_path / "ca", trust_domain="cluster.local", settings=CitadelSettings(), now=NOW)
    return StoreAuthority(store, citadel, StoppedClock())


async def issue(store: Store, authority: StoreAuthority) -> x509.Certificate:
    pod = store.find(Pod, "shop", "web")
    assert pod is not None
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    issued = await authority.issue(csr=csr, namespace="shop", name="web", uid=pod.metadata.uid, node="here")
    assert issued["trustBundle"] == authority.trust_bundle()["trustBundle"]
    return x509.load_pem_x509_certificate(issued["certificateChain"][0].encode())


async def test_an_identity_that_nobody_declared_is_not_certified(store: Store, authority: StoreAuthority) -> None:
    with pytest.raises(ServiceAccountAbsent, match="runs as ServiceAccount front, which does not exist in shop"):
        await issue(store, authority)
    await store.commit([Put(object=ServiceAccount(metadata=Metadata(name="front", namespace="shop")))])
    names = (await issue(store, authority)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/shop/sa/front"]


async def test_the_meshs_settings_say_how_long_a_certificate_lives(store: Store, authority: StoreAuthority) -> None:
    settings = ConfigMap(metadata=Metadata(name="istio", namespace="istio-system"), data={"mesh": "hauberk: {certificateLifetime: 10s}"})
    account = ServiceAccount(metadata=Metadata(name="front", namespace="shop"))
    await store.commit([Put(object=account), Put(object=settings)])
    assert (await issue(store, authority)).not_valid_after_utc == NOW + timedelta(seconds=10)
