"""The port for other machines above a real authority, without a network: who is let in, and whose connections end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.citadel.rig import HandClock, opened, request

from hauberk.citadel.attestation import Attested
from hauberk.citadel.authority import Citadel
from hauberk.citadel.join import Machines
from hauberk.citadel.nodes import Nodes, agent_id
from hauberk.citadel.plugged_import import PluggedImport
from hauberk.citadel.revocation import Revocations, Target
from hauberk.citadel.state_revocations import What
from hauberk.identity.csr import read_public_key_der
from hauberk.identity.svid import X509Svid
from hauberk.identity.wire import JoinRequest
from hauberk.kit.tls_door import Admitted, Visitor
from hauberk.local import remote_certificate
from hauberk.local.citadel import ServedCitadel
from hauberk.local.remote import RemoteMachines
from hauberk.local.remote_certificate import Own
from hauberk.local.remote_doors import API, Services
from hauberk.local.remote_machines import open_machines


@dataclass
class Port:
    """The port; `ended` are the machines whose connections it has ended, in turn."""

    citadel: Citadel
    served: ServedCitadel
    machines: Machines
    remote: RemoteMachines
    clock: HandClock
    ended: list[str]

    async def join(self, node: str = "n2") -> X509Svid:
        """The machine has joined with a new token."""
        return await self.join_by((await self.machines.create_token(node)).text, node)

    async def join_by(self, token: str, node: str = "n2") -> X509Svid:
        reply = await self.machines.join(JoinRequest(token=token, node=node, csr_der=request().csr_der))
        return X509Svid.from_der(reply.chain_der)

    async def knock(self, svid: X509Svid) -> Admitted:
        """What becomes of who shows this certificate."""
        return await self.remote._admit(Visitor(certificate=svid.leaf.public_bytes(Encoding.DER), protocol=API, address="192.0.2.1"))

    async def revoke(self, serial: str) -> None:
        await self.served.revocations.revoke(Target(what=What.SERIAL, value=serial, name=serial), by="uid 1000")

    async def renewed(self, node: str = "n2") -> X509Svid:
        """What the machine's agent gets when it renews its certificate."""
        attested = Attested(spiffe_id=agent_id(self.citadel.trust_domain, node), holder=f"agent {node}", node=node)
        issued = await self.citadel.issuer.issue_to(attested, read_public_key_der(request().csr_der), by=f"node {node}")
        return X509Svid.from_der(issued.chain_der)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """The port heeds the Trust, and keeps its certificate fresh, meanwhile."""
        tasks = [asyncio.create_task(work) for work in (self.remote._own.run(), self.remote._follow_trust())]
        try:
            async with asyncio.timeout(10):
                await self.remote._own.current.first()
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Whoever follows the Trust has seen the newest."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def own_other_than(self, former: Own) -> Own:
        """What the port proves itself with after `former`."""
        async for own in self.remote._own.current.changes():
            if own is not former:
                return own
        raise AssertionError("changes never end")


@contextmanager
def served_port(directory: Path, monkeypatch: pytest.MonkeyPatch, clock: HandClock | None = None) -> Iterator[Port]:
    """The port of an authority in `directory`; the sockets behind it are not opened."""
    clock, ended = clock or HandClock(), list[str]()

    monkeypatch.setattr(remote_certificate, "LEAST_SLEEP", 0.0)

    async def path(_node: str, _protocol: str) -> Path:
        return directory / "socket"

    def end(node: str) -> int:
        ended.append(node)
        return 1

    def displace(node: str) -> None:
        remote.shut_out(node)

    with opened(directory, clock) as citadel, socket.socket() as listener:
        nodes = Nodes.open(citadel.ground.state)
        revocations = Revocations(citadel.ground, citadel.authorities, banned=lambda name: name in nodes.banned())
        citadel.heed(revocations)
        nothing = cast("Any", None)
        served = ServedCitadel(
            ground=citadel.ground,
            citadel=citadel,
            nodes=nodes,
            revocations=revocations,
            plugged=PluggedImport(citadel),
            tokens=nothing,
            node="here",
        )
        machines = open_machines(served, displace)
        remote = RemoteMachines(listener, machines, Services(parts=nothing, pilot=nothing, citadel=citadel), directory / "nodes")
        monkeypatch.setattr(remote._doors, "path", path)
        monkeypatch.setattr(remote._door, "show_out", end)
        yield Port(citadel, served, machines, remote, clock, ended)
