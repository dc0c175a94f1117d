"""The lock says whether a mesh runs, and which process is its init."""

import os
from pathlib import Path

import pytest

from hauberk.local import lock
from hauberk.local.failure import StateNotWritable


def test_a_lock_that_is_held_cannot_be_taken_until_it_is_let_go(tmp_path: Path) -> None:
    held = lock.take(tmp_path / "lock")
    assert held is not None
    assert lock.take(tmp_path / "lock") is None
    os.close(held)
    again = lock.take(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_the_holder_is_known_while_it_has_the_file_open_and_not_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock.holder(path) is None
    held = lock.take(path)
    assert held is not None
    lock.note_pid(held, os.getpid())
    assert lock.holder(path) == os.getpid()
    os.close(held)
    # The number may belong to anybody by now.
    assert lock.holder(path) is None


def test_nonsense_in_the_lock_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("nonsense")
    assert lock.holder(tmp_path / "lock") is None


def test_a_lock_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StateNotWritable, match="cannot write") as caught:
        lock.take(tmp_path / "absent" / "lock")
    assert "HAUBERK_STATE_DIR" in caught.value.hint


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StateNotWritable):
        lock.take(tmp_path / "lock")
    assert not (tmp_path / "victim").exists()
