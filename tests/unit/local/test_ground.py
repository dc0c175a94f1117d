"""What the mesh keeps from every program."""

import sys
from pathlib import Path

import pytest

from hauberk.kit.places import Places
from hauberk.local import ground


def test_other_meshes_of_this_user_are_hidden_too_where_the_directory_above_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAUBERK_STATE_DIR", "/var/lib/hauberk")
    monkeypatch.setenv("HAUBERK_RUN_DIR", "/tmp/mine")
    assert ground._hidden(Places("second")) == ("/var/lib/hauberk", "/tmp/mine/second")


def test_interpreter_libraries_and_package_are_protected_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "", "/"])
    protected = [Path(path) for path in ground._protected()]
    for needed in (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path(ground.__file__).parents[1]):
        assert any(path == needed or path in needed.parents for path in protected)
    assert Path("/") not in protected
    assert not any(one in other.parents for one in protected for other in protected)
