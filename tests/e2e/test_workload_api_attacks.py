"""Who is at the other end of a socket, when somebody takes pains to be taken for another; with real processes and this machine's kernel."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hauberk.agent.attestor import PodSpace, Refused, admit
from hauberk.linux.evidence import Examiner, Unprovable
from hauberk.linux.peer import SO_PEERPIDFD, Peer, PeerGone, alive, open_peer, started_at

CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('in', flush=True); sys.stdin.read()"
SLEEP = shutil.which("sleep") or "/bin/sleep"

# First process of a PID namespace of its own, so that nobody else takes a number: one connects and ends, the next is given its number.
REUSE = """
import json, os, socket, sys
from pathlib import Path
from hauberk.linux.peer import PeerGone, open_peer
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
first = os.fork()
if first == 0:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    os._exit(0)
os.waitpid(first, 0)
Path("/proc/sys/kernel/ns_last_pid").write_text(str(first - 1))
ready, tell = os.pipe()
second = os.fork()
if second == 0:
    os.write(tell, b"x")
    os.execv(sys.argv[2], [sys.argv[2], "60"])
os.read(ready, 1)
connection, _ = listener.accept()
said = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
try:
    found = open_peer(connection).pid
except PeerGone:
    found = None
os.kill(second, 9)
print(json.dumps({"first": first, "second": second, "said": said, "found": found}))
"""


@contextmanager
def caller(listener: socket.socket, path: Path, *, program: str = sys.executable) -> Iterator[tuple[socket.socket, subprocess.Popen[str]]]:
    """A process that has connected and waits; its connection as it was accepted."""
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
    command = [program, "-c", CONNECT, str(path)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            connection, _ = listener.accept()
            with connection:
                yield connection, process
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def listener(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        listening.settimeout(30)
        yield listening


def examine(peer: Peer, *, digest: bool = True, examiner: Examiner | None = None) -> dict[str, str]:
    return (examiner or Examiner()).examine(peer.pidfd, uid=peer.uid, gid=peer.gid, digest=digest)


def test_the_kernel_names_the_process_its_user_and_its_program(listener: socket.socket, place: Path) -> None:
    with caller(listener, place) as (connection, process):
        peer = open_peer(connection)
        assert (peer.pid, peer.uid, peer.gid) == (process.pid, os.geteuid(), os.getegid())
        found = examine(peer)
        assert (found["uid"], found["gid"]) == (str(os.geteuid()), str(os.getegid()))
        assert found["path"] == os.path.realpath(sys.executable) and len(found["sha256"]) == 64
        assert "sha256" not in examine(peer, digest=False)
        os.close(peer.pidfd)


def test_a_process_that_has_ended_is_nobody(listener: socket.socket, place: Path) -> None:
    with caller(listener, place) as (connection, process):
        peer = open_peer(connection)
        process.kill()
        process.wait()
        assert not alive(peer.pidfd)
        with pytest.raises(PeerGone):
            examine(peer)
        with pytest.raises(PeerGone):
            open_peer(connection)
        os.close(peer.pidfd)


def test_a_process_that_was_given_the_number_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = ["unshare", *user, "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSE, str(tmp_path / "s"), SLEEP]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # The trap is real: by its number alone the second would be taken for who has connected.
    assert told["first"] == told["second"] == told["said"]
    assert told["found"] is None


def test_older_kernels_tell_by_the_time_at_which_a_process_began(
    listener: socket.socket, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hauberk.linux.peer.SO_PEERPIDFD", SO_PEERPIDFD + 4000)
    with caller(listener, place) as (connection, process):
        peer = open_peer(connection)
        assert peer.pid == process.pid
        os.close(peer.pidfd)
        monkeypatch.setattr("hauberk.linux.peer.started_at", lambda pid: started_at(pid) + 1e9)
        with pytest.raises(PeerGone):
            open_peer(connection)


def copy_of_python(directory: Path) -> Path:
    program = directory / "program"
    shutil.copy2(os.path.realpath(sys.executable), program)
    return program


def test_a_program_that_was_replaced_after_its_start_has_lost_its_name(listener: socket.socket, place: Path, tmp_path: Path) -> None:
    program = copy_of_python(tmp_path)
    with caller(listener, place, program=str(program)) as (connection, _):
        peer = open_peer(connection)
        before = examine(peer)
        assert before["path"] == str(program)
        other = tmp_path / "other"
        other.write_bytes(b"something else")
        other.replace(program)
        after = examine(peer)
        assert "path" not in after
        # What runs is still what was started, and that is what the digest is of.
        assert after["sha256"] == before["sha256"]
        os.close(peer.pidfd)


def test_a_program_that_was_removed_has_no_name(listener: socket.socket, place: Path, tmp_path: Path) -> None:
    program = copy_of_python(tmp_path)
    with caller(listener, place, program=str(program)) as (connection, _):
        peer = open_peer(connection)
        program.unlink()
        assert "path" not in examine(peer)
        # Nor by a file that is put there under the name that the kernel shows for it.
        program.with_name("program (deleted)").write_bytes(b"x")
        assert "path" not in examine(peer)
        os.close(peer.pidfd)


def test_a_digest_is_remembered_only_for_the_file_it_was_of(listener: socket.socket, place: Path, tmp_path: Path) -> None:
    examiner, found = Examiner(), []
    for number in range(2):
        program = copy_of_python(tmp_path)
        with program.open("ab") as file:
            file.write(b"x" * number)
        with caller(listener, place, program=str(program)) as (connection, _):
            peer = open_peer(connection)
            found.append(examine(peer, examiner=examiner)["sha256"])
            assert examine(peer, examiner=examiner)["sha256"] == found[-1]
            os.close(peer.pidfd)
        program.unlink()
    assert found[0] != found[1]


def test_a_process_in_a_network_of_its_own_is_not_of_this_machine(listener: socket.socket, place: Path) -> None:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = ["unshare", "--net", *user, sys.executable, "-c", CONNECT, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        connection, _ = listener.accept()
        peer = open_peer(connection)
        with pytest.raises(Unprovable, match="network"):
            examine(peer)
        process.kill()
        connection.close()
        os.close(peer.pidfd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_becomes_another_user_after_connecting_is_neither(listener: socket.socket, place: Path) -> None:
    code = CONNECT.replace(
        "sys.stdin.read()", "sys.stdin.readline(); import os; os.setresuid(1, 1, 1); print('now', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        connection, _ = listener.accept()
        peer = open_peer(connection)
        assert examine(peer)["uid"] == "0"
        assert process.stdin and process.stdout and process.stdout.readline() == "in\n"
        print("go", file=process.stdin, flush=True)
        assert process.stdout.readline() == "now\n"
        with pytest.raises(Unprovable, match="another user"):
            examine(peer)
        process.kill()
        connection.close()
        os.close(peer.pidfd)


# --- pods: a process must be in the pod's network, and below one of its containers

USER = () if os.geteuid() == 0 else ("--user", "--map-root-user")


@contextmanager
def contained(listener: socket.socket, place: Path, *kinds: str) -> Iterator[tuple[socket.socket, int, int]]:
    """A process that has connected from namespaces of its own: the connection, its number, a descriptor of its network."""
    command = ["unshare", *USER, *kinds, "--fork", "--kill-child", sys.executable, "-c", CONNECT, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as unshare:
        connection, _ = listener.accept()
        peer = open_peer(connection)
        network = os.open(f"/proc/{peer.pid}/ns/net", os.O_RDONLY)
        try:
            yield connection, peer.pid, network
        finally:
            os.close(network)
            os.close(peer.pidfd)
            connection.close()
            unshare.kill()


def test_a_program_of_the_pod_is_let_in(listener: socket.socket, place: Path) -> None:
    with contained(listener, place, "--pid", "--net") as (connection, pid, network):
        peer = admit(connection, PodSpace(network, (pid,)))
        assert peer.pid == pid
        os.close(peer.pidfd)


def test_a_program_of_another_pod_is_not_let_in_by_either_namespace_alone(listener: socket.socket, place: Path) -> None:
    with (
        contained(listener, place, "--pid", "--net") as (connection, pid, network),
        contained(listener, place, "--pid", "--net") as (_, other, its_network),
    ):
        for space, reason in (
            (PodSpace(its_network, (other,)), "network"),
            (PodSpace(its_network, (pid,)), "network"),
            (PodSpace(network, (other,)), "containers"),
            (PodSpace(network, ()), "containers"),
        ):
            with pytest.raises(Refused, match=reason):
                admit(connection, space)


def test_a_process_of_the_mesh_in_the_pods_network_is_none_of_its_programs(listener: socket.socket, place: Path) -> None:
    """As the sidecar is: in the pod's network namespace, and in no PID namespace but ours."""
    with contained(listener, place, "--net") as (connection, pid, network), pytest.raises(Refused, match="containers"):
        admit(connection, PodSpace(network, (pid,)))


def test_a_process_of_the_pod_that_has_ended_is_refused(listener: socket.socket, place: Path) -> None:
    with contained(listener, place, "--pid", "--net") as (connection, pid, network):
        pidfd = os.pidfd_open(pid)
        os.kill(pid, 9)
        while alive(pidfd):
            os.sched_yield()
        os.close(pidfd)
        with pytest.raises(Refused, match="ended"):
            admit(connection, PodSpace(network, (pid,)))
