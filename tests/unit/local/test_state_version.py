"""State of another version is refused, not misread."""

from pathlib import Path

import pytest

from hauberk.local import state_version
from hauberk.local.failure import StateIncompatible


def test_an_empty_directory_becomes_one_of_this_version(tmp_path: Path) -> None:
    state_version.ensure(tmp_path)
    state_version.ensure(tmp_path)
    assert (tmp_path / "version").read_text() == f"{state_version.CURRENT}\n"


@pytest.mark.parametrize(("found", "word"), [("0", "older"), ("nonsense", "older"), (str(state_version.CURRENT + 1), "newer")])
def test_another_version_is_refused_with_a_way_out(tmp_path: Path, found: str, word: str) -> None:
    (tmp_path / "version").write_text(found)
    with pytest.raises(StateIncompatible, match=f"{word} version") as caught:
        state_version.ensure(tmp_path)
    assert "--purge" in caught.value.hint
    assert (tmp_path / "version").read_text() == found


def test_objects_without_a_version_are_older_than_any(tmp_path: Path) -> None:
    (tmp_path / "objects.db").touch()
    with pytest.raises(StateIncompatible, match="older version"):
        state_version.ensure(tmp_path)
