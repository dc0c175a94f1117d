"""The port for other machines: its own certificate, who is let in, and whose connections end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.citadel.rig import request, row_of
from tests.unit.local.remote_rig import served_port

from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.nodes import Nodes, control_plane_id
from hauberk.citadel.renaming import Renaming
from hauberk.citadel.state import StateUnusable
from hauberk.identity.template import InvalidTemplate
from hauberk.kit.tls import PeerRefused
from hauberk.kit.tls_door import Visitor
from hauberk.local.remote_certificate import NotObtained
from hauberk.local.remote_doors import JOIN


@pytest.mark.parametrize(
    "failure",
    [KeyUnreadable("pkcs11:token=x", "it is not there", "plug it in"), StateUnusable(Path("x"), "full", ""), InvalidTemplate("too late")],
)
async def test_a_certificate_that_cannot_be_had_now_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise failure

    with served_port(tmp_path, monkeypatch) as port:
        monkeypatch.setattr(port.citadel, "issuer", SimpleNamespace(issue_to=fail))
        with pytest.raises(NotObtained):
            await port.remote._ask(request().csr_der)


async def test_a_revoked_certificate_ends_its_machines_connections_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_port(tmp_path, monkeypatch) as port:
        first = await port.join()
        await port.knock(first)
        second = await port.renewed()
        async with port.following():
            await port.revoke(first.serial)
            await port.settled()
            assert port.ended[1:] == ["n2"]
            await port.knock(second)
            for number in range(3):
                await port.citadel.ground.publication.publish(lambda trust, name=f"a{number}": replace(trust, aliases=(name,)))  # type: ignore[misc]
            await port.settled()
            assert port.ended[1:] == ["n2"]


async def test_the_ports_own_certificate_is_exchanged_when_it_is_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_port(tmp_path, monkeypatch) as port:
        async with port.following():
            first = await port.remote._own.current.first()
            await port.revoke(first.svid.serial)
            assert (await port.own_other_than(first)).svid.serial not in port.citadel.trust.revoked.serials


async def test_who_joins_anew_puts_out_whoever_had_the_name_however_fresh_his_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_port(tmp_path, monkeypatch) as port:
        former = await port.join()
        renewed = await port.renewed()
        neighbour = await port.join("n20")
        port.ended.clear()
        new = await port.join()
        assert port.ended == ["n2"]
        reopened = Nodes.open(port.citadel.ground.state)
        for each in (former, renewed):
            with pytest.raises(PeerRefused, match="has joined anew"):
                await port.knock(each)
            assert row_of(port.citadel, each).reason == "node n2 joined anew"
            assert each.serial in reopened.require("n2").former
        for each in (new, await port.renewed()):
            assert (await port.knock(each)).owner == "n2"
        assert (await port.knock(neighbour)).owner == "n20"


async def test_after_the_mesh_was_renamed_the_port_shows_its_new_name_and_machines_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_port(tmp_path, monkeypatch) as port:
        async with port.following():
            first = await port.remote._own.current.first()
            renaming = Renaming(port.citadel)
            await renaming.declare(("new.example", "cluster.local"))
            await renaming.adopt("new.example", "uid 1000")
            assert (await port.own_other_than(first)).svid.spiffe_id == control_plane_id("new.example")
            assert (await port.knock(await port.join())).owner == "n2"


async def test_who_joins_has_room_for_few_connections_from_one_address_and_not_many_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_port(tmp_path, monkeypatch) as port:
        admitted = await port.remote._admit(Visitor(certificate=None, protocol=JOIN, address="192.0.2.1"))
        assert admitted.most_here < admitted.most <= 128
