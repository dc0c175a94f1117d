"""The certificate authority of this control plane, put together from its parts, and what serves it."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from hauberk.citadel.authority import Citadel, local_caller
from hauberk.citadel.ground import Ground
from hauberk.citadel.jwt_authority import JwtAuthority
from hauberk.citadel.jwt_settings import read_jwt_settings
from hauberk.citadel.key_settings import open_key_store
from hauberk.citadel.nodes import Nodes
from hauberk.citadel.plugged_import import PluggedImport
from hauberk.citadel.revocation import Revocations
from hauberk.citadel.rotation import unconfirmed
from hauberk.citadel.service import Answer, serving
from hauberk.citadel.settings import CitadelSettings
from hauberk.identity.wire import ISSUE_TOKEN
from hauberk.kit.clock import Clock
from hauberk.kit.places import Places
from hauberk.local.authority import StoreAttestor
from hauberk.sources.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCitadel:
    """All that this control plane has to do with identities."""

    ground: Ground
    citadel: Citadel
    nodes: Nodes
    revocations: Revocations
    plugged: PluggedImport
    tokens: JwtAuthority
    node: str

    @classmethod
    def open(
        cls, store: Store, places: Places, *, trust_domains: Sequence[str], node: str, settings: CitadelSettings, clock: Clock
    ) -> Self:
        """The authority of the mesh at `places`, whose settings name these `trust_domains`, the wanted one first.

        Blocks: keys are read, perhaps made, perhaps by a token.
        """
        keys = open_key_store(places.authority, settings.keys)
        wanted, *aliases = trust_domains
        ground = Ground.open(places.authority, trust_domain=wanted, aliases=aliases, clock=clock, audit=places.audit, keys=keys)
        try:
            nodes = Nodes.open(ground.state)
            attestor = StoreAttestor(store, lambda: ground.trust_domain, takes_part=lambda name: name == node or name in nodes.joined())
            citadel = Citadel.open(ground, settings, attestor=attestor)
            revocations = Revocations(ground, citadel.authorities, banned=lambda name: name in nodes.banned())
            citadel.heed(revocations)
            citadel.concerns.append(revocations.concerns)
            tokens = JwtAuthority.open(citadel, read_jwt_settings())
        except BaseException:
            ground.close()
            raise
        plugged = PluggedImport(citadel)
        return cls(ground=ground, citadel=citadel, nodes=nodes, revocations=revocations, plugged=plugged, tokens=tokens, node=node)

    def more(self) -> dict[str, Answer]:
        """What agents may ask for beside certificates, whichever machine they are on."""
        return {ISSUE_TOKEN: self.tokens.answer}

    def unconfirmed(self, sequence: int) -> tuple[str, ...]:
        """Who has not confirmed to hold the Trust of that sequence or a later one; who is revoked or banned is not asked."""
        return unconfirmed(sequence, self.citadel.exchange.facts(self.ground.clock.now()))

    async def run(self, places: Places) -> None:
        """Answers this machine's agent, and does what is due, until cancelled."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serving(self.citadel, places.citadel_socket, local_caller(self.node), self.more()))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            tasks.create_task(self.citadel.run(), name="citadel")
            tasks.create_task(self.revocations.run(), name="revocations")
            tasks.create_task(self.plugged.follow(), name="imported authority")
            tasks.create_task(self.tokens.run(), name="keys of tokens")

    def close(self) -> None:
        """Everything is on disk."""
        self.ground.close()
