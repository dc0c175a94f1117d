"""What a machine that has joined keeps: whole, private, and not longer than its certificate lives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.citadel.nodes import agent_id
from hauberk.identity.svid import X509Svid
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust_bundle import to_pem
from hauberk.local.joining_membership import Membership, MembershipUnusable, expired, read_membership, require_alive, write_membership
from hauberk.local.remote_certificate import Own

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def member() -> Membership:
    key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(trust_domain="cluster.local", public_key=key.public_key(), serial=7, now=NOW, lifetime=2 * HOUR).sign(
        key, hashes.SHA256()
    )
    spiffe_id = agent_id("cluster.local", "n2")
    leaf = build_leaf(spiffe_id=spiffe_id, public_key=key.public_key(), issuer=root, serial=9, now=NOW, lifetime=HOUR).sign(
        key, hashes.SHA256()
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own = Own(svid=X509Svid.parse([to_pem(leaf)]), key_pem=key_pem, authority_id="issuing-1")
    return Membership(node="n2", trust_domain="cluster.local", addresses=(("::1", 7443),), roots=(to_pem(root),), own=own)


def test_a_membership_is_read_as_it_was_written_and_is_its_owners_alone(tmp_path: Path) -> None:
    path, written = tmp_path / "agent" / "membership.json", member()
    write_membership(path, written)
    assert read_membership(path) == written
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(written)
    assert [each.name for each in path.parent.iterdir()] == ["membership.json"]


def test_a_machine_that_has_joined_nothing_has_none(tmp_path: Path) -> None:
    assert read_membership(tmp_path / "membership.json") is None


def test_a_key_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "membership.json"
    write_membership(path, member())
    path.chmod(0o640)
    with pytest.raises(MembershipUnusable, match="others may read") as refused:
        read_membership(path)
    assert f"chmod 600 {path}" in refused.value.hint


def test_a_damaged_membership_is_refused_without_quoting_its_key(tmp_path: Path) -> None:
    path = tmp_path / "membership.json"
    document = member().to_document()
    other = member().to_document()["key"]
    damages: tuple[dict[str, object], ...] = (
        {"key": document["key"][:60]},
        {"key": other},
        {"chain": []},
        {"format": "x"},
        {"roots": ["x"]},
        {"addresses": ["x"]},
    )
    for damage in damages:
        path.write_text(json.dumps(document | damage))
        path.chmod(0o600)
        with pytest.raises(MembershipUnusable, match="is damaged") as refused:
            read_membership(path)
        assert refused.value.__cause__ is None
        assert "hauberk agent --join" in refused.value.hint


def test_a_membership_is_over_with_its_certificate_and_the_remedy_is_a_new_token() -> None:
    held = member()
    assert expired(held, NOW) is None
    require_alive(held, NOW)
    with pytest.raises(MembershipUnusable, match="node n2 expired at 2026-07-01 13:00:00 UTC") as over:
        require_alive(replace(held), NOW + HOUR)
    assert "hauberk ca token create" in over.value.hint
