"""Keys in files: kept privately, sealed as chosen, never lost by a wrong secret."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.key_seal import KeyFile, Passphrase, Plain, Seal
from hauberk.citadel.key_store import KeyAbsent, KeyUnreadable
from hauberk.identity.template import build_root

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SEALS = [Plain(), Passphrase(b"correct horse battery"), KeyFile(b"k" * 32)]


def by_name(seal: Seal) -> str:
    return seal.name


@pytest.mark.parametrize("seal", SEALS, ids=by_name)
def test_a_key_is_found_again_under_its_id(tmp_path: Path, seal: Seal) -> None:
    made = FileKeyStore(tmp_path, seal).create("root-1")
    assert FileKeyStore(tmp_path, seal).open("root-1").public_key == made.public_key
    assert FileKeyStore(tmp_path, seal).ids() == {"root-1"}
    assert stat.S_IMODE((tmp_path / "root-1.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("seal", SEALS, ids=by_name)
@pytest.mark.parametrize("former", SEALS, ids=by_name)
def test_keys_are_sealed_anew_when_the_seal_has_changed(tmp_path: Path, former: Seal, seal: Seal) -> None:
    made = FileKeyStore(tmp_path, former).create("root-1")
    FileKeyStore(tmp_path, seal, former).prepare()
    assert FileKeyStore(tmp_path, seal).open("root-1").public_key == made.public_key


@pytest.mark.parametrize("seal", SEALS[1:], ids=by_name)
def test_a_sealed_file_holds_nothing_of_the_key(tmp_path: Path, seal: Seal) -> None:
    key = FileKeyStore(tmp_path, seal).create("root-1").key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes(32)
    assert scalar not in (tmp_path / "root-1.pem").read_bytes()
    assert b"BEGIN PRIVATE KEY" not in (tmp_path / "root-1.pem").read_bytes()


@pytest.mark.parametrize("wrong", [Passphrase(b"another horse's battery"), KeyFile(b"x" * 32), Plain()], ids=by_name)
@pytest.mark.parametrize("seal", SEALS[1:], ids=by_name)
def test_a_wrong_secret_is_named_and_changes_nothing(tmp_path: Path, seal: Seal, wrong: Seal) -> None:
    for name in ("root-1", "issuing-1"):
        FileKeyStore(tmp_path, seal).create(name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyUnreadable, match=r"name the file with the right secret; nothing was changed") as caught:
        FileKeyStore(tmp_path, wrong).prepare()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "horse" not in str(caught.value)


def test_one_file_that_does_not_open_keeps_all_others_in_their_form(tmp_path: Path) -> None:
    FileKeyStore(tmp_path).create("a")
    FileKeyStore(tmp_path, KeyFile(b"x" * 32)).create("b")
    with pytest.raises(KeyUnreadable, match=r"b\.pem"):
        FileKeyStore(tmp_path, KeyFile(b"k" * 32)).prepare()
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "a.pem").read_bytes()


def test_two_sealed_files_cannot_be_exchanged(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path, KeyFile(b"k" * 32))
    store.create("a")
    store.create("b")
    (tmp_path / "a.pem").replace(tmp_path / "b.pem")
    with pytest.raises(KeyUnreadable, match="is another key's file"):
        store.open("b")


def test_a_file_of_the_first_release_is_read_with_its_certificate_and_keeps_it_when_sealed(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = build_root(trust_domain="cluster.local", public_key=key.public_key(), serial=1, now=NOW, lifetime=timedelta(days=1))
    root = builder.sign(key, hashes.SHA256())
    pem = root.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "root.pem").write_bytes(pem)
    (tmp_path / "root.pem").chmod(0o600)
    for seal in (Plain(), KeyFile(b"k" * 32)):
        store = FileKeyStore(tmp_path, seal)
        store.prepare()
        assert store.open("root").public_key == key.public_key()
        assert store.certificate("root") == root


def test_a_key_beside_a_certificate_of_another_is_refused(tmp_path: Path) -> None:
    test_a_file_of_the_first_release_is_read_with_its_certificate_and_keeps_it_when_sealed(tmp_path)
    certificate = (tmp_path / "root.pem").read_bytes().split(b"-----BEGIN HAUBERK")[0]
    other = FileKeyStore(tmp_path).create("other")
    (tmp_path / "other.pem").write_bytes(certificate + Plain().close("other", other.key))
    with pytest.raises(KeyUnreadable, match="does not belong to its certificate"):
        FileKeyStore(tmp_path).open("other")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_use_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    FileKeyStore(tmp_path).create("root")
    (tmp_path / "root.pem").chmod(mode)
    with pytest.raises(KeyUnreadable, match=rf"mode {mode:04o}\); run `chmod 600 {tmp_path}/root.pem`"):
        FileKeyStore(tmp_path).open("root")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused_with_the_remedy(tmp_path: Path) -> None:
    FileKeyStore(tmp_path).create("root")
    os.chown(tmp_path / "root.pem", 12345, 12345)
    with pytest.raises(KeyUnreadable, match=r"belongs to another user \(uid 12345\); run `chown 0"):
        FileKeyStore(tmp_path).open("root")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root.pem", 0o600)
    with pytest.raises(KeyUnreadable, match="not an ordinary file"):
        FileKeyStore(tmp_path).open("root")


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "root.pem").write_bytes(content)
    (tmp_path / "root.pem").chmod(0o600)
    with pytest.raises(KeyUnreadable, match="damaged") as caught:
        FileKeyStore(tmp_path).open("root")
    assert "AAAA" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    first = store.create("root")
    with pytest.raises(FileExistsError):
        store.create("root")
    assert store.open("root").public_key == first.public_key


def test_a_destroyed_key_is_gone_and_destroying_it_again_is_no_error(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    store.create("root")
    store.destroy("root")
    store.destroy("root")
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyAbsent, match=r"root\.pem: it does not exist"):
        store.open("root")


@pytest.mark.parametrize("name", ["../root", "", "Root", "a/b", ".new-x", "a" * 64, "root\n"])
def test_an_id_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the id"):
        FileKeyStore(tmp_path).create(name)


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".new-00").write_bytes(b"half")
    FileKeyStore(tmp_path / "fresh").prepare()
    FileKeyStore(tmp_path).prepare()
    assert not (tmp_path / ".new-00").exists()
    assert FileKeyStore(tmp_path).ids() == frozenset()


@pytest.mark.parametrize("seal", SEALS, ids=by_name)
def test_neither_a_signer_nor_a_seal_shows_a_secret(tmp_path: Path, seal: Seal) -> None:
    store = FileKeyStore(tmp_path, seal)
    shown = f"{store!r} {store.create('root')!r} {seal!r}"
    assert not any(word in shown for word in ("horse", "kkkk", "object at"))


def test_a_copy_that_somebody_made_beside_a_key_is_left_alone(tmp_path: Path) -> None:
    FileKeyStore(tmp_path).create("root")
    for name in ("root.old.pem", "Root.pem", "notes.txt"):
        (tmp_path / name).write_bytes(b"anything")
    FileKeyStore(tmp_path).prepare()
    assert FileKeyStore(tmp_path).ids() == {"root"}
