"""The names that the settings give the mesh, and the authority that takes them over when everybody is ready."""

import asyncio
from collections.abc import Collection, Sequence

from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE, mesh_config_of
from hauberk.citadel.federations import Federations
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.nodes import Nodes
from hauberk.citadel.renaming import Renaming
from hauberk.citadel.revocation import Revocations, Target
from hauberk.citadel.state import StateUnusable
from hauberk.citadel.state_revocations import What
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.kit.log import logger
from hauberk.pilot.pilot import Pilot
from hauberk.sources.store import Store

# Proof comes from agents and proxies; what it is a proof of is looked at so often.
_LOOK_SECONDS = 0.5
_PUSH_SECONDS = 5.0

_log = logger("citadel")


class Naming:
    """Follows the settings; `fault` is what admission asks before they change."""

    def __init__(
        self, store: Store, renaming: Renaming, *, nodes: Nodes, federations: Federations, revocations: Revocations, pilot: Pilot
    ) -> None:
        self._store = store
        self._renaming = renaming
        self._nodes = nodes
        self._federations = federations
        self._revocations = revocations
        self._pilot = pilot
        self._read: tuple[ConfigMap | None, tuple[str, ...]] | None = None
        self._revision = store.revision
        self._told = ""

    def fault(self, wanted: str, aliases: Sequence[str]) -> tuple[str, str] | None:
        """Why the mesh cannot have these names from now on, and what to do; None: it can."""
        federated = [row.trust_domain for row in self._federations.list()]
        return self._renaming.fault(wanted, aliases, federated=federated, machines=self._machines())

    def _machines(self) -> Collection[str]:
        return self._nodes.joined()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except (StateUnusable, KeyUnreadable) as exc:
                if str(exc) != self._told:
                    _log.error("the trust domain cannot be renamed", reason=str(exc))
                self._told = str(exc)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """What the settings want has been done as far as it is proven to be safe."""
        names = self._names()
        if names != self._declared(names):
            self._revision = self._store.revision
            await self._renaming.declare(names)
        if names[0] != self._renaming.current and await self._is_proven() and self._names() == names:
            await self._carry_revocations(names[0])
            await self._renaming.adopt(names[0], by="settings")
        await self._renaming.settle()

    def _declared(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """`names`, if they are the ones that everybody has been told."""
        return names if set(names) | {self._renaming.current} == set(self._renaming.names) else ()

    def _names(self) -> tuple[str, ...]:
        present = self._store.find(ConfigMap, ROOT_NAMESPACE, NAME)
        if self._read is None or self._read[0] is not present:
            config = mesh_config_of(present)
            self._read = present, (config.trust_domain, *config.trust_domain_aliases)
        return self._read[1]

    async def _is_proven(self) -> bool:
        """Every proxy has acknowledged a configuration with both names, and every agent and proxy whom to believe under them."""
        pushed = await self._pilot.wait(self._revision, _PUSH_SECONDS)
        missing = pushed.pending or self._renaming.unproven()
        waiting = ", ".join(missing)
        if waiting != self._told:
            _log.info("the trust domain is renamed when all have confirmed", waiting=waiting or "nobody")
        self._told = waiting
        return not missing and pushed.acknowledged == pushed.affected

    async def _carry_revocations(self, wanted: str) -> None:
        """Who is revoked by name is revoked under the new one too, before anybody can have it."""
        revoked = {row.value: row for row in self._revocations.all if row.what is What.IDENTITY}
        for row in revoked.values():
            identity = SpiffeId.parse(row.value)
            renamed = str(SpiffeId(wanted, identity.path))
            if identity.trust_domain == self._renaming.current and renamed not in revoked:
                await self._revocations.revoke(Target(what=What.IDENTITY, value=renamed, name=renamed), by=row.by, reason=row.reason)
