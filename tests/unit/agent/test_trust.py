"""Whom a machine believes: told, kept, and believed again by the agent that comes after."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.agent.trust import MachineTrust
from hauberk.identity.template import build_root
from hauberk.identity.trust import Revoked, Trust

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="td", public_key=KEY.public_key(), serial=1, now=NOW, lifetime=timedelta(days=9)).sign(KEY, hashes.SHA256())


def trust(sequence: int) -> Trust:
    revoked = Revoked(serials=frozenset({"0" * 32}))
    return Trust(sequence=sequence, trust_domain="td", x509_authorities=(ROOT,), revoked=revoked)


async def test_what_is_told_is_in_force_and_the_next_agent_believes_it(tmp_path: Path) -> None:
    path, told = tmp_path / "agent" / "trust", list[Trust]()
    machine = MachineTrust(path)
    assert machine.current.value is None
    machine.current.subscribe(told.append)
    assert await machine.take(trust(3))
    assert told == [trust(3)]
    assert MachineTrust(path).current.value == trust(3)
    assert path.stat().st_mode & 0o077 == 0


async def test_the_same_again_is_told_to_nobody(tmp_path: Path) -> None:
    machine, told = MachineTrust(tmp_path / "trust"), list[Trust]()
    await machine.take(trust(3))
    machine.current.subscribe(told.append)
    assert await machine.take(trust(3))
    assert told == []


async def test_a_trust_without_roots_is_ignored(tmp_path: Path) -> None:
    machine = MachineTrust(tmp_path / "trust")
    await machine.take(trust(3))
    assert not await machine.take(Trust(sequence=4, trust_domain="td"))
    assert machine.current.value == trust(3)


async def test_a_control_plane_that_went_back_is_believed(tmp_path: Path) -> None:
    machine = MachineTrust(tmp_path / "trust")
    await machine.take(trust(9))
    assert await machine.take(trust(3))
    assert machine.current.value == trust(3)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-7], lambda data: data.replace(b"td", b"tx"), lambda _data: b"", lambda _data: b"\xff"]
)
async def test_a_damaged_file_is_ignored(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "trust"
    await MachineTrust(path).take(trust(3))
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    assert MachineTrust(path).current.value is None


async def test_a_full_disk_stops_nobody_from_believing_but_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = MachineTrust(tmp_path / "file" / "trust")
    assert await machine.take(trust(3))
    assert (machine.current.value, machine.kept) == (trust(3), False)
