"""Signed tree heads as text."""

from __future__ import annotations

import pytest
from tests.unit.audit.signing import new_key

from hauberk.audit.checkpoint import BadCheckpoint, Checkpoint, read, sign

_KEY = new_key()
_HEAD = Checkpoint(origin="hauberk/audit", size=1024, root=bytes(32))
_NOTE = sign(_HEAD, _KEY)


def test_what_was_signed_is_read_again() -> None:
    assert read(_NOTE, _KEY.public_key) == _HEAD
    assert _NOTE.startswith("hauberk/audit\n1024\n" + "A" * 43 + "=\n\n— hauberk/audit ")


def test_further_signatures_of_witnesses_do_not_matter() -> None:
    assert read(_NOTE + "— witness.example AAAA\n— hauberk/audit !\n", _KEY.public_key) == _HEAD


@pytest.mark.parametrize(
    ("old", "new"), [("1024", "1023"), ("1024", "01024"), ("1024", "٣"), ("AAAA", "AAAB"), ("\n\n", "\n"), ("audit\n", "other\n")]
)
def test_what_was_changed_is_not_believed(old: str, new: str) -> None:
    with pytest.raises(BadCheckpoint):
        read(_NOTE.replace(old, new, 1), _KEY.public_key)


def test_the_signature_of_another_key_is_not_believed() -> None:
    with pytest.raises(BadCheckpoint, match="not signed by the log's key"):
        read(_NOTE, new_key().public_key)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(BadCheckpoint):
        read(_NOTE + "— witness.example AAAA\n" * 1000, _KEY.public_key)
