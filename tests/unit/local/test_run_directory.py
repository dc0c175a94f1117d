"""The run directory is emptied, and nothing beside it."""

import socket
from pathlib import Path

from hauberk.local import run_directory


def test_whatever_is_in_it_goes_and_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    run = tmp_path / "run" / "default"
    (run / "pods" / "12345678").mkdir(parents=True)
    (run / "pods" / "12345678" / "access.log").touch()
    (run / "link").symlink_to(victim)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(run / "api.sock"))
    run_directory.empty(run)
    assert list(run.iterdir()) == []
    assert (victim / "file").exists()


def test_removing_takes_the_directory_above_only_if_nobody_else_uses_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "hauberk" / name).mkdir(parents=True)
    run_directory.remove(tmp_path / "hauberk" / "one")
    assert (tmp_path / "hauberk" / "two").exists()
    run_directory.remove(tmp_path / "hauberk" / "two")
    assert not (tmp_path / "hauberk").exists()
    run_directory.remove(tmp_path / "hauberk" / "two")
