"""The machine's socket, and the way to it."""

import queue
import stat
import threading
from pathlib import Path

import pytest

from hauberk.local.workload_door import Turns, _listen, _open_way


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


def test_a_user_whose_programs_are_slow_to_read_keeps_no_other_waiting() -> None:
    turns, slow, done = Turns(), threading.Event(), queue.Queue[str]()

    def read_slowly() -> None:
        slow.wait()
        done.put("slow")

    assert turns.take("1000", read_slowly)
    assert turns.take("1000", lambda: done.put("next of the same"))
    assert turns.take("1001", lambda: done.put("other"))
    assert done.get(timeout=20) == "other"
    slow.set()
    assert [done.get(timeout=20) for _ in range(2)] == ["slow", "next of the same"]


def test_a_user_has_only_so_many_questions_waiting() -> None:
    turns, slow = Turns(), threading.Event()

    def read_slowly() -> None:
        slow.wait()

    assert turns.take("1000", read_slowly)
    assert [turns.take("1000", lambda: None) for _ in range(100)].count(True) == 64
    slow.set()
