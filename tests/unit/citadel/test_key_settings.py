"""Where keys lie, as the environment says it: names of files, never a secret."""

from pathlib import Path

import pytest

from hauberk.citadel.key_settings import InvalidKeySetting, KeyPlace, KeySettings, open_key_store, read_key_settings
from hauberk.citadel.key_store import KeyUnreadable


def secret(path: Path, content: bytes = b"correct horse battery staple\n") -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_nothing_set_means_plain_files(tmp_path: Path) -> None:
    assert read_key_settings({}) == KeySettings()
    open_key_store(tmp_path / "ca", KeySettings()).create("root")
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "ca" / "root.pem").read_bytes()


def test_a_passphrase_file_encrypts_what_was_plain_at_the_next_start_and_its_last_line_break_is_no_part_of_it(tmp_path: Path) -> None:
    made = open_key_store(tmp_path / "ca", KeySettings()).create("root")
    passphrase = secret(tmp_path / "passphrase")
    settings = read_key_settings({"HAUBERK_CA_PASSPHRASE_FILE": str(passphrase)})
    open_key_store(tmp_path / "ca", settings)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "ca" / "root.pem").read_bytes()
    secret(passphrase, passphrase.read_bytes().strip())
    assert open_key_store(tmp_path / "ca", settings).open("root").public_key == made.public_key


def test_the_former_secret_alone_makes_keys_plain_again(tmp_path: Path) -> None:
    key_file = secret(tmp_path / "key", bytes(range(32)))
    made = open_key_store(tmp_path / "ca", read_key_settings({"HAUBERK_CA_KEY_FILE": str(key_file)})).create("root")
    open_key_store(tmp_path / "ca", read_key_settings({"HAUBERK_CA_FORMER_KEY_FILE": str(key_file)}))
    assert open_key_store(tmp_path / "ca", KeySettings()).open("root").public_key == made.public_key


def test_a_passphrase_is_changed_by_naming_both(tmp_path: Path) -> None:
    old, new = secret(tmp_path / "old"), secret(tmp_path / "new", b"a different secret altogether")
    made = open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=old))).create("root")
    open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=new), former=KeyPlace(passphrase_file=old)))
    assert open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=new))).open("root").public_key == made.public_key
    with pytest.raises(KeyUnreadable, match="passphrase is wrong"):
        open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=old)))


@pytest.mark.parametrize(("content", "reason"), [(b"short\n", "fewer than 16"), (b"", "fewer than 16")], ids=["short", "empty"])
def test_a_weak_passphrase_is_refused_with_the_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(KeyUnreadable, match=reason + ".*openssl rand"):
        open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=secret(tmp_path / "p", content))))


def test_a_secret_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    passphrase = secret(tmp_path / "p")
    passphrase.chmod(0o644)
    with pytest.raises(KeyUnreadable, match=r"chmod 600"):
        open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=passphrase)))


def test_a_missing_secret_leaves_the_keys_alone(tmp_path: Path) -> None:
    open_key_store(tmp_path / "ca", KeySettings()).create("root")
    with pytest.raises(KeyUnreadable, match="does not exist"):
        open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(passphrase_file=tmp_path / "absent")))
    assert open_key_store(tmp_path / "ca", KeySettings()).ids() == {"root"}


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"HAUBERK_CA_PASSPHRASE_FILE": "my secret"}, "HAUBERK_CA_PASSPHRASE_FILE: it is not an absolute path"),
        ({"HAUBERK_CA_FORMER_KEY_FILE": "key"}, "HAUBERK_CA_FORMER_KEY_FILE: it is not an absolute path"),
        ({"HAUBERK_CA_PASSPHRASE_FILE": "/a", "HAUBERK_CA_KEY_FILE": "/b"}, "they are both set"),
        ({"HAUBERK_CA_TOKEN": "softhsm"}, "HAUBERK_CA_TOKEN: it is not the URI"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named_but_not_quoted(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidKeySetting, match=reason) as caught:
        read_key_settings(environment)
    assert "my secret" not in str(caught.value)
