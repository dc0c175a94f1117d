"""The machine's socket, and the way to it."""

import stat
from pathlib import Path

import pytest

from hauberk.local.workload_door import _listen, _open_way


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("before", "after"), [(0o700, 0o711), (0o750, 0o751), (0o711, 0o711), (0o755, 0o755), (0o1777, 0o1777)])
def test_a_directory_becomes_passable_and_keeps_what_else_it_is(tmp_path: Path, before: int, after: int) -> None:
    tmp_path.chmod(before)
    _open_way(tmp_path)
    assert mode(tmp_path) == after


def test_the_socket_of_an_unprivileged_mesh_is_for_its_user(tmp_path: Path) -> None:
    path = tmp_path / "default.workload.sock"
    path.write_text("of a mesh that was killed")
    with _listen(path, rootless=True):
        assert mode(path) == 0o600


def test_the_socket_of_a_mesh_of_roots_is_for_everybody(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "default.workload.sock"
    with _listen(path, rootless=False):
        assert (mode(path), mode(tmp_path)) == (0o666, 0o711)
