"""Which machines take part, and whose certificate is an agent's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel.nodes import NodeRefused, Nodes, agent_id, node_fault, read_agent_certificate
from hauberk.citadel.state import State, Table, Write
from hauberk.citadel.state_nodes import NODES
from hauberk.identity.spiffe_id import SpiffeId, workload_id
from hauberk.identity.template import build_leaf, build_root

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="cluster.local", public_key=KEY.public_key(), serial=7, now=NOW, lifetime=HOUR).sign(KEY, hashes.SHA256())


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "citadel.db", (NODES,))
    yield opened
    opened.close()


def certificate(spiffe_id: SpiffeId) -> bytes:
    template = build_leaf(spiffe_id=spiffe_id, public_key=KEY.public_key(), issuer=ROOT, serial=9, now=NOW, lifetime=HOUR)
    return template.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def test_an_agents_certificate_names_its_node() -> None:
    found = read_agent_certificate(certificate(agent_id("cluster.local", "n2.example")), "cluster.local")
    assert (found.node, found.serial, found.not_after) == ("n2.example", f"{9:032x}", NOW + HOUR)


@pytest.mark.parametrize(
    "spiffe_id",
    [
        workload_id("cluster.local", "shop", "web"),
        workload_id("cluster.local", "hauberk", "agent"),
        agent_id("elsewhere", "n2"),
        agent_id("cluster.local", "N2"),
        SpiffeId("cluster.local", "/hauberk/agent"),
        SpiffeId("cluster.local", "/hauberk/agent/n2/more"),
        SpiffeId("cluster.local", "/hauberk/control-plane"),
        SpiffeId("cluster.local", "/n2"),
    ],
)
def test_no_other_certificate_is_an_agents(spiffe_id: SpiffeId) -> None:
    with pytest.raises(NodeRefused, match="not an agent's"):
        read_agent_certificate(certificate(spiffe_id), "cluster.local")


def test_neither_an_authoritys_certificate_nor_garbage_is_an_agents() -> None:
    for der in (ROOT.public_bytes(Encoding.DER), b"", b"garbage", certificate(agent_id("cluster.local", "n2"))[:-4]):
        with pytest.raises(NodeRefused, match="not an agent's"):
            read_agent_certificate(der, "cluster.local")


def test_another_certificate_with_two_names_is_not_an_agents() -> None:
    builder = x509.CertificateBuilder().subject_name(ROOT.subject).issuer_name(ROOT.subject).public_key(KEY.public_key()).serial_number(4)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + HOUR)
    names = [x509.UniformResourceIdentifier(str(agent_id("cluster.local", node))) for node in ("n2", "n3")]
    der = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(NodeRefused, match="exactly one URI"):
        read_agent_certificate(der, "cluster.local")


@pytest.mark.parametrize("name", ["", "N2", "n2.", "../n2", "n2/..", "n%32", "n 2", "n2\n", "n_2", "п2", "x" * 254])
def test_what_is_no_canonical_name_is_no_node(name: str) -> None:
    assert node_fault(name, "here")


def test_no_machine_joins_as_the_control_planes_own() -> None:
    assert node_fault("here", "here")
    assert node_fault("here", "Here")
    assert node_fault("there", "here") is None


async def test_a_machine_that_has_joined_may_take_part_also_after_a_restart(state: State) -> None:
    nodes = Nodes.open(state)
    with pytest.raises(NodeRefused, match="has not joined"):
        nodes.require("n2")
    await nodes.join("n2", "t1", NOW)
    for each in (nodes, Nodes.open(state)):
        assert each.require("n2").joined == NOW
        assert each.joined() == {"n2"}


async def test_a_banned_machine_stays_out_until_it_is_readmitted_and_joins_anew(state: State) -> None:
    nodes = Nodes.open(state)
    await nodes.join("n2", "t1", NOW)
    await nodes.ban("n2", NOW, "stolen")
    for each in (nodes, Nodes.open(state)):
        assert (set(each.joined()), set(each.banned())) == (set(), {"n2"})
        with pytest.raises(NodeRefused, match="was banned at 2026-07-01 12:00:00 UTC: stolen"):
            each.require("n2")
        with pytest.raises(NodeRefused, match="was banned"):
            await each.join("n2", "t2", NOW)
    await nodes.readmit("n2")
    with pytest.raises(NodeRefused, match="has not joined"):
        nodes.require("n2")
    await nodes.join("n2", "t3", NOW)
    assert nodes.require("n2").token == "t3"


async def test_nobody_is_banned_or_readmitted_who_is_not_there(state: State) -> None:
    nodes = Nodes.open(state)
    with pytest.raises(NodeRefused, match="there is no node n9"):
        await nodes.ban("n9", NOW, "")
    with pytest.raises(NodeRefused, match="not banned"):
        await nodes.readmit("n9")


async def test_what_is_known_of_a_machine_is_kept(state: State) -> None:
    nodes = Nodes.open(state)
    await nodes.join("n2", "t1", NOW)
    await nodes.seen("n2", NOW + 2 * HOUR)
    await nodes.seen("unknown", NOW)
    (row,) = Nodes.open(state).all()
    assert (row.token, row.seen) == ("t1", NOW + 2 * HOUR)


async def test_a_certificate_from_before_a_machine_joined_anew_admits_nobody(state: State) -> None:
    nodes = Nodes.open(state)
    shown = read_agent_certificate(certificate(agent_id("cluster.local", "n2")), "cluster.local")
    await nodes.join("n2", "t1", NOW)
    assert nodes.admit(shown).token == "t1"
    await nodes.join("n2", "t2", NOW + HOUR / 2)
    with pytest.raises(NodeRefused, match="has joined anew"):
        nodes.admit(shown)


def test_machines_that_an_older_release_knew_are_still_known(tmp_path: Path) -> None:
    columns = "name TEXT PRIMARY KEY, joined INTEGER NOT NULL, token TEXT NOT NULL, seen INTEGER NOT NULL, banned INTEGER NOT NULL"
    older = Table(name="nodes", create=(f"CREATE TABLE nodes ({columns}, reason TEXT NOT NULL) STRICT, WITHOUT ROWID",))
    before = State.open(tmp_path / "citadel.db", (older,))
    before.commit(Write("INSERT INTO nodes VALUES ('n2', 1, 't1', 1, 0, '')"))
    before.close()
    after = State.open(tmp_path / "citadel.db", (NODES,))
    assert [(row.name, row.former) for row in Nodes.open(after).all()] == [("n2", frozenset())]
    after.close()
