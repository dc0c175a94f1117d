"""The join file: read whole or not at all, and never quoted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.identity.template import build_root
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.local.joining import JoinFailed, join
from hauberk.local.joining_file import FORMAT, JoinFile, JoinFileUnusable

NOW = datetime.now(UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="cluster.local", public_key=KEY.public_key(), serial=7, now=NOW, lifetime=timedelta(hours=1))
DOCUMENT: dict[str, Any] = {
    "format": FORMAT,
    "node": "n2",
    "addresses": ["127.0.0.1:1", "[::1]:2"],
    "trustDomain": "cluster.local",
    "trustBundle": [to_pem(ROOT.sign(KEY, hashes.SHA256()))],
    "token": "0123456789abcdef.a-secret",
    "expires": "2099-01-01T00:00:00Z",
}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one, whoever runs the tests and on how many cores: the paths of Unix sockets are short."""
    with tempfile.TemporaryDirectory(prefix="hb-") as directory:
        yield Path(directory)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "n2.join"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_join_file_says_where_to_go_whom_to_believe_and_what_to_show(tmp_path: Path) -> None:
    file = JoinFile.read(written(tmp_path, json.dumps(DOCUMENT)))
    assert (file.node, file.addresses, file.trust_domain) == ("n2", (("127.0.0.1", 1), ("::1", 2)), "cluster.local")
    assert file.token == DOCUMENT["token"]
    assert "a-secret" not in repr(file)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "hauberk.join/2"},
        {"node": "../n2"},
        {"node": "N2"},
        {"addresses": []},
        {"addresses": ["nowhere"]},
        {"trustDomain": "no domain"},
        {"trustBundle": []},
        {"trustBundle": ["-----BEGIN CERTIFICATE-----"]},
        {"expires": "soon"},
    ],
)
def test_a_damaged_join_file_is_refused_without_quoting_it(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(JoinFileUnusable, match="damaged") as refused:
        JoinFile.read(written(tmp_path, json.dumps(DOCUMENT | change)))
    assert "a-secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "hauberk ca token create" in refused.value.hint


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '"text"', "\x00", json.dumps(DOCUMENT)[:-9], json.dumps(DOCUMENT | {"more": "x" * 2_000_000})]
)
def test_what_is_no_join_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(JoinFileUnusable):
        JoinFile.read(written(tmp_path, text))
    with pytest.raises(JoinFileUnusable, match="cannot read"):
        JoinFile.read(tmp_path / "absent")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_join_file_that_others_may_read_or_change_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, json.dumps(DOCUMENT))
    path.chmod(mode)
    with pytest.raises(JoinFileUnusable, match="others may read or change") as refused:
        JoinFile.read(path)
    assert f"chmod 600 {path}" in refused.value.hint
    path.chmod(0o400)
    assert JoinFile.read(path).node == "n2"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "s"))
    monkeypatch.setenv(RUN_VARIABLE, str(tmp_path / "r"))
    return Places()


def test_where_nobody_answers_nothing_is_joined_and_the_remedy_is_named(places: Places) -> None:
    with pytest.raises(JoinFailed, match="not reached") as failed:
        join(places, JoinFile.parse(DOCUMENT | {"addresses": ["127.0.0.1:1"]}))
    assert "the token is still good" in failed.value.hint
    assert not places.membership.exists()
    assert [path.name for path in places.run.iterdir()] == []


def test_an_expired_token_is_not_even_shown(places: Places) -> None:
    with pytest.raises(JoinFailed, match="expired at 2020-01-01 00:00:00 UTC"):
        join(places, JoinFile.parse(DOCUMENT | {"expires": "2020-01-01T00:00:00Z"}))


def test_a_control_plane_does_not_join_another(places: Places) -> None:
    places.create()
    places.objects.touch()
    with pytest.raises(JoinFailed, match="control plane of its own"):
        join(places, JoinFile.parse(DOCUMENT))
