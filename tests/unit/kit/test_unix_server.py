"""Unix sockets that answer one user alone."""

import os
import socket
from pathlib import Path

from hauberk.kit import unix_server


def test_the_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    with unix_server.listen(tmp_path / "api.sock"):
        assert (tmp_path / "api.sock").stat().st_mode & 0o777 == 0o600


def test_the_kernel_tells_who_the_peer_is() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert unix_server.peer_uid(one) == os.geteuid()
    assert unix_server.allowed_users() == {0, os.geteuid()}
