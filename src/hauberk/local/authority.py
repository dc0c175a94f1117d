"""Certificates on request: the store says whether the claim is true, citadel signs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE, mesh_config_of
from hauberk.api.pod import Pod
from hauberk.api.service_account import ServiceAccount
from hauberk.citadel.attestation import PodClaim, attest
from hauberk.citadel.authority import Citadel
from hauberk.kit.clock import Clock
from hauberk.sources.store import Store


class ServiceAccountAbsent(PermissionError):
    """The pod names an identity that nobody has declared."""


class StoreAuthority:
    """Citadel behind what the store knows."""

    def __init__(self, store: Store, citadel: Citadel, clock: Clock) -> None:
        self._store = store
        self._citadel = citadel
        self._clock = clock

    async def issue(self, *, csr: str, namespace: str, name: str, uid: str, node: str) -> Mapping[str, Any]:
        """A certificate for the identity of a pod that the store knows to run on that node."""
        pod = attest(PodClaim(namespace=namespace, name=name, uid=uid, node=node), self._store.find(Pod, namespace, name))
        account = pod.spec.service_account_name
        if self._store.find(ServiceAccount, namespace, account) is None:
            raise ServiceAccountAbsent(f"pod {namespace}/{name} runs as ServiceAccount {account}, which does not exist in {namespace}")
        issued = await self._citadel.issue(csr, pod, self._clock.now(), lifetime=self._lifetime())
        return issued.to_document()

    def trust_bundle(self) -> Mapping[str, Any]:
        """The roots."""
        return {"trustBundle": list(self._citadel.trust_bundle().pems)}

    async def trust_bundles(self) -> AsyncIterator[Mapping[str, Any]]:
        """The roots; they do not change while a control plane runs, so the stream only stays open."""
        yield self.trust_bundle()
        await asyncio.Event().wait()

    def _lifetime(self) -> timedelta | None:
        settings = mesh_config_of(self._store.find(ConfigMap, ROOT_NAMESPACE, NAME))
        return settings.hauberk.certificate_lifetime
