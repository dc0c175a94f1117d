"""Where a mesh keeps its files, and that nobody else can put them there."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from hauberk.kit.places import LONGEST_SOCKET_PATH, Places, PlaceUnusable

UID = "0f1e2d3c-5678-4abc-9def-001122334455"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one, whoever runs the tests and on how many cores: the paths of Unix sockets are short."""
    with tempfile.TemporaryDirectory(prefix="hb-") as directory:
        yield Path(directory)


@pytest.fixture
def short_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HAUBERK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HAUBERK_RUN_DIR", str(tmp_path / "r"))
    return tmp_path


def test_the_variables_override_the_parents_and_the_mesh_is_appended(short_run: Path) -> None:
    places = Places("second")
    assert places.state == short_run / "state" / "second"
    assert places.run == short_run / "r" / "second"


def test_root_keeps_its_mesh_in_system_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HAUBERK_STATE_DIR", "HAUBERK_RUN_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (Places().state, Places().run) == (Path("/var/lib/hauberk/default"), Path("/run/hauberk/default"))


def test_a_user_keeps_the_mesh_in_the_xdg_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HAUBERK_STATE_DIR", "HAUBERK_RUN_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/jo/.state")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert Places().state == Path("/home/jo/.state/hauberk/default")
    assert Places().run == Path("/run/user/1000/hauberk/default")


def test_without_a_runtime_directory_the_name_in_tmp_carries_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HAUBERK_RUN_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert Places().run == Path("/tmp/hauberk-1000/hauberk/default")


def test_a_child_with_the_environment_finds_the_same_places(short_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places("second")
    for name, value in places.environment().items():
        monkeypatch.setenv(name, value)
    assert Places("second") == places


def test_created_directories_are_closed_to_others(short_run: Path) -> None:
    places = Places()
    places.create()
    places.create()
    assert {path.stat().st_mode & 0o777 for path in (places.state, places.run)} == {0o700}


def test_a_name_that_is_no_file_name_is_refused() -> None:
    for name in ("", "../x", "A", "a" * 41, "-a"):
        with pytest.raises(PlaceUnusable) as refused:
            Places(name)
        assert "lower-case" in refused.value.hint


def test_a_path_too_long_for_a_socket_is_refused_with_the_variable_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HAUBERK_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("HAUBERK_RUN_DIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(PlaceUnusable) as refused:
        Places().create()
    assert "HAUBERK_RUN_DIR" in refused.value.hint


def test_the_longest_path_that_is_allowed_is_one_that_a_socket_can_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HAUBERK_STATE_DIR", str(tmp_path / "state"))
    with tempfile.TemporaryDirectory() as base:
        monkeypatch.setenv("HAUBERK_RUN_DIR", base)
        room = LONGEST_SOCKET_PATH - Places("a").longest_socket
        for parent, fits in (("r" * (room - 1), True), ("r" * room, False)):
            monkeypatch.setenv("HAUBERK_RUN_DIR", f"{base}/{parent}")
            places = Places("a")
            with nullcontext() if fits else pytest.raises(PlaceUnusable):
                places.create()
            places.pod_run(UID).mkdir(parents=True)
            with socket.socket(socket.AF_UNIX) as sock, nullcontext() if fits else pytest.raises(OSError, match="too long"):
                sock.bind(str(places.pod_run(UID) / "admin.sock"))


def test_pods_whose_uids_begin_alike_share_no_directory() -> None:
    places, twin = Places(), UID.replace("5678", "9abc")
    assert places.pod_run(UID) != places.pod_run(twin)
    assert places.pod_logs("shop", "web", UID) != places.pod_logs("shop", "web", twin)
    assert places.pod_run(UID).name == "0f1e2d3c56784abc"


def test_a_directory_that_cannot_be_made_says_which_variable_helps(short_run: Path) -> None:
    (short_run / "state").write_text("a file in the way")
    with pytest.raises(PlaceUnusable) as refused:
        Places().create()
    assert "HAUBERK_STATE_DIR" in refused.value.hint


def test_a_link_in_place_of_the_directory_is_not_followed(short_run: Path) -> None:
    (short_run / "elsewhere").mkdir()
    (short_run / "r").mkdir()
    (short_run / "r" / "default").symlink_to(short_run / "elsewhere")
    with pytest.raises(PlaceUnusable):
        Places().create()


def test_a_directory_of_somebody_else_is_not_used(short_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Places().create()
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(PlaceUnusable, match="another user"):
        Places().create()
