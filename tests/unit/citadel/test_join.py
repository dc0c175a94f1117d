"""A machine joins, is known by its certificate, and is put out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.join import ATTEMPTS_AT_ONCE, Machines, Surroundings
from hauberk.citadel.join_tokens import JoinRefused, JoinTokens
from hauberk.citadel.nodes import NodeRefused, Nodes, agent_id
from hauberk.citadel.rate_limit import TooMany
from hauberk.citadel.state import State, StateUnusable
from hauberk.citadel.state_tables import TABLES
from hauberk.identity.csr import InvalidCsr, build_csr_der
from hauberk.identity.event import Event, EventKind
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.wire import IssueReply, JoinRequest

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ec.generate_private_key(ec.SECP256R1())
CSR = build_csr_der(KEY)


class Rig:
    """Machines with everything around them made up."""

    def __init__(self, state: State) -> None:
        self.events: list[Event] = []
        self.issued: list[str] = []
        self.displaced: list[str] = []
        self.revoked: set[str] = set()
        self.seconds = 0.0
        self.failure: Exception | None = None
        around = Surroundings(
            trust_domain=lambda: "cluster.local",
            local_node="here",
            issue=self.issue,
            displace=self.displaced.append,
            record=self.events.append,
            is_revoked=lambda serial: serial in self.revoked,
            now=lambda: NOW,
            monotonic=lambda: self.seconds,
        )
        self.machines = Machines(Nodes.open(state), JoinTokens.open(state), around)

    async def issue(self, node: str, csr_der: bytes) -> IssueReply:
        assert csr_der == CSR
        if self.failure is not None:
            raise self.failure
        self.issued.append(node)
        return IssueReply(chain_der=(b"leaf",), trust_sequence=1, authority_id="a")

    async def join(self, node: str, token: str, csr: bytes = CSR) -> IssueReply:
        return await self.machines.join(JoinRequest(token=token, node=node, csr_der=csr))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    state = State.open(tmp_path / "citadel.db", TABLES)
    yield Rig(state)
    state.close()


def certificate(node: str) -> bytes:
    root = build_root(trust_domain="cluster.local", public_key=KEY.public_key(), serial=7, now=NOW, lifetime=HOUR).sign(
        KEY, hashes.SHA256()
    )
    spiffe_id = agent_id("cluster.local", node)
    template = build_leaf(spiffe_id=spiffe_id, public_key=KEY.public_key(), issuer=root, serial=9, now=NOW, lifetime=HOUR)
    return template.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


async def test_a_machine_with_a_token_gets_its_agents_certificate_and_is_admitted_by_it(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    assert (await rig.join("n2", token.text)).chain_der == (b"leaf",)
    assert rig.issued == ["n2"]
    assert rig.machines.admit(certificate("n2")).node == "n2"
    assert [each.kind for each in rig.events] == [EventKind.JOIN_TOKEN_MADE, EventKind.NODE_JOINED]


async def test_a_bad_request_for_a_certificate_does_not_cost_the_token(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    with pytest.raises(InvalidCsr):
        await rig.join("n2", token.text, CSR + b"more")
    assert await rig.join("n2", token.text)


@pytest.mark.parametrize("node", ["here", "N2", "../n2", ""])
async def test_no_token_is_made_for_what_no_machine_may_be_called(rig: Rig, node: str) -> None:
    with pytest.raises(ValueError, match=r"name for a node|own machine"):
        await rig.machines.create_token(node)


async def test_a_refusal_is_an_event_that_does_not_hold_the_secret(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    with pytest.raises(JoinRefused):
        await rig.join("n3", token.text)
    assert (rig.events[-1].kind, rig.events[-1].subject) == (EventKind.NODE_REFUSED, "n3")
    assert token.text.partition(".")[2] not in str([each.to_document() for each in rig.events])


async def test_a_banned_machine_gets_no_token_joins_by_none_and_is_admitted_by_no_certificate(rig: Rig) -> None:
    await rig.join("n2", (await rig.machines.create_token("n2")).text)
    spare = await rig.machines.create_token("n2")
    await rig.machines.ban("n2", "stolen")
    with pytest.raises(NodeRefused, match="banned"):
        rig.machines.admit(certificate("n2"))
    with pytest.raises(NodeRefused, match="banned"):
        await rig.machines.create_token("n2")
    with pytest.raises(NodeRefused, match="banned"):
        await rig.join("n2", spare.text)
    await rig.machines.readmit("n2")
    await rig.join("n2", (await rig.machines.create_token("n2")).text)
    assert rig.machines.admit(certificate("n2"))


async def test_a_certificate_for_the_control_planes_own_machine_admits_nobody(rig: Rig) -> None:
    with pytest.raises(NodeRefused, match="own machine"):
        rig.machines.admit(certificate("here"))


async def test_attempts_are_limited_and_go_on_after_a_while(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    for _ in range(ATTEMPTS_AT_ONCE):
        with pytest.raises(JoinRefused):
            await rig.join("n2", "0.0")
    with pytest.raises(TooMany):
        await rig.join("n2", "0.0")
    assert await rig.join("n2", token.text)  # whoever has a true token need not suffer for those who guess
    rig.seconds = 10.0
    with pytest.raises(JoinRefused):
        await rig.join("n2", "0.0")


async def test_who_has_used_his_token_tries_no_more_often_than_who_guesses(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    await rig.join("n2", token.text)
    for _ in range(ATTEMPTS_AT_ONCE):
        with pytest.raises(JoinRefused, match="was used already"):
            await rig.join("n2", token.text)
    with pytest.raises(TooMany):
        await rig.join("n2", token.text)


async def test_a_name_that_is_none_is_not_repeated_at_length(rig: Rig) -> None:
    with pytest.raises(NodeRefused) as refused:
        await rig.join("N" * 30_000, "0.0")
    assert len(str(refused.value)) < 500


async def test_a_revoked_certificate_admits_nobody(rig: Rig) -> None:
    await rig.join("n2", (await rig.machines.create_token("n2")).text)
    rig.revoked.add(f"{9:032x}")
    with pytest.raises(NodeRefused, match="was revoked"):
        rig.machines.admit(certificate("n2"))


@pytest.mark.parametrize("node", ["here", "N2", "../n2", "n2/../n3", "n%32", ""])
async def test_no_machine_joins_by_a_name_that_is_none(rig: Rig, node: str) -> None:
    token = await rig.machines.create_token("n2")
    with pytest.raises(NodeRefused, match=r"name for a node|own machine"):
        await rig.join(node, token.text)
    assert await rig.join("n2", token.text)


async def test_a_token_is_not_lost_when_the_authority_cannot_sign(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    rig.failure = NoIssuer("there is no issuing key")
    with pytest.raises(NoIssuer):
        await rig.join("n2", token.text)
    assert rig.machines.nodes.joined() == frozenset()
    rig.failure = None
    assert await rig.join("n2", token.text)
    with pytest.raises(JoinRefused, match="used already"):
        await rig.join("n2", token.text)


async def test_a_token_is_not_lost_when_the_disk_is_full_at_that_moment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StateUnusable(Path("citadel.db"), "the disk is full", "free some space")

    token = await rig.machines.create_token("n2")
    with monkeypatch.context() as patched, pytest.raises(StateUnusable):
        patched.setattr(State, "write", full)
        await rig.join("n2", token.text)
    assert rig.machines.nodes.joined() == frozenset()
    assert await rig.join("n2", token.text)


async def test_who_hangs_up_while_he_joins_has_joined(rig: Rig) -> None:
    token = await rig.machines.create_token("n2")
    joining = asyncio.create_task(rig.join("n2", token.text))
    await asyncio.sleep(0)
    joining.cancel()
    await asyncio.gather(joining, return_exceptions=True)
    assert rig.machines.nodes.joined() == {"n2"}
    assert rig.events[-1].kind is EventKind.NODE_JOINED
    with pytest.raises(JoinRefused, match="used already"):
        await rig.join("n2", token.text)


async def test_nobody_is_admitted_as_a_machine_that_is_just_joining(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.join("n2", (await rig.machines.create_token("n2")).text)
    admitted: list[str] = []

    async def issue(node: str, csr_der: bytes) -> IssueReply:
        with pytest.raises(NodeRefused, match="is joining anew"):
            rig.machines.admit(certificate("n2"))
        admitted.append("was refused")
        return IssueReply(chain_der=(b"leaf",), trust_sequence=1, authority_id="a")

    monkeypatch.setattr(rig.machines, "_around", replace(rig.machines._around, issue=issue))
    await rig.join("n2", (await rig.machines.create_token("n2")).text)
    assert (admitted, rig.displaced) == (["was refused"], ["n2", "n2"])
    assert rig.machines.admit(certificate("n2"))
