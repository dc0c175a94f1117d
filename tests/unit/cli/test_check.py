"""What `hauberk check` says of a machine."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hauberk.cli import check

MEGABYTE = 2**20


def disk(megabytes: int, *, inodes: int = 1000) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=megabytes, f_frsize=MEGABYTE, f_files=1000, f_favail=inodes)


@pytest.mark.parametrize(("found", "state"), [(disk(5000), "good"), (disk(500), "poor"), (disk(5), "bad"), (disk(5000, inodes=0), "bad")])
def test_too_little_room_for_the_state_is_told_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: SimpleNamespace, state: str
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    told = check.space(tmp_path / "not" / "yet")
    assert (told.state, bool(told.remedy)) == (state, state != "good")
    assert str(tmp_path) in told.seen


def test_what_pods_replace_is_looked_for() -> None:
    assert {"/etc/resolv.conf", "/etc/hosts", "file watches"} <= {each.name for each in check.files()}
