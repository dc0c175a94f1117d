"""What the agent of a machine that has joined makes of the Trust, as far as it concerns itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.local.remote_rig import Port, served_port

from hauberk.citadel.nodes import agent_id
from hauberk.identity.trust import Revoked
from hauberk.identity.wire import JoinRequest
from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.kit.watched import Watched
from hauberk.local.joining_membership import Membership
from hauberk.local.remote_agent import RemoteControlPlane
from hauberk.local.remote_certificate import NotObtained, Signed, obtain_own


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setenv(RUN_VARIABLE, str(tmp_path / "run"))
    return Places()


async def member(port: Port) -> Membership:
    """A machine that has joined as n2."""
    token = (await port.machines.create_token("n2")).text

    async def ask(csr_der: bytes) -> Signed:
        reply = await port.machines.join(JoinRequest(token=token, node="n2", csr_der=csr_der))
        return Signed(chain_der=reply.chain_der, authority_id=reply.authority_id)

    own = await obtain_own(ask, agent_id(port.citadel.trust_domain, "n2"), port.clock.now)
    trust = port.citadel.trust
    return Membership(node="n2", trust_domain=trust.trust_domain, addresses=(("::1", 1),), roots=trust.bundle.pems, own=own)


async def test_the_agent_heeds_what_was_revoked_and_renews_its_own_certificate_then(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_port(tmp_path, monkeypatch) as port:
        membership = await member(port)
        agent = RemoteControlPlane(places, membership, port.clock)
        asked = asyncio.Event()

        async def ask(_: bytes) -> Signed:
            asked.set()
            raise NotObtained("that it asks is enough")

        monkeypatch.setattr(agent._own, "_ask", ask)
        trust = Watched(port.citadel.trust)
        agent.heed(trust)
        assert not agent._way._is_revoked(membership.own.svid.serial)
        renewing = asyncio.create_task(agent._own.run())
        await asyncio.sleep(0)
        trust.set(replace(port.citadel.trust, revoked=Revoked(serials=frozenset({membership.own.svid.serial}))))
        async with asyncio.timeout(10):
            await asked.wait()
        assert agent._way._is_revoked(membership.own.svid.serial)
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
