"""A mesh begins and ends by its commands, or is killed in whatever way: afterwards the machine is as before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e import unprivileged

from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.kit.unix_http import UnixHttp
from hauberk.local import lock

ROOT = os.geteuid() == 0
PATIENCE = 60.0  # seconds until a test that waits for an event gives up

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{sidecar.istio.io/inject: "{inject}"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    command: [sh, -c, "sleep 1000 & exec sleep 1000"]
"""


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    home = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    monkeypatch.setenv(STATE_VARIABLE, str(home / "s"))
    monkeypatch.setenv(RUN_VARIABLE, str(home / "r"))
    before = surroundings()
    yield Places()
    with contextlib.suppress(subprocess.TimeoutExpired):
        hauberk("down", "--purge", "--timeout", "5s")
    shutil.rmtree(home)
    assert surroundings() == before


def surroundings() -> tuple[object, ...]:
    """What a mesh could leave outside of itself: links and mounts with its names in them, and (for root) tables of rules.

    Only its names, because other programs of the machine, and other tests, may come and go meanwhile.
    """
    links = sorted(name for _, name in socket.if_nameindex() if name.startswith(("hauberk", "hb", "veth")))
    mounts = sorted(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "hauberk" in line or "/hb-" in line)
    return links, mounts, [table for table in _tables() if b"hauberk" in table] if ROOT else None


def _tables() -> list[bytes]:
    """The tables of nftables in the machine's own network namespace, as the kernel describes them."""
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
        # Protocol 12 is netfilter; NFT_MSG_GETTABLE, NLM_F_REQUEST | NLM_F_DUMP, then an nfgenmsg for all families.
        sock.send(struct.pack("=IHHIIBBH", 20, 0xA01, 0x301, 1, 0, 0, 0, 0))
        while True:
            answer = sock.recv(1 << 16)
            while len(answer) >= 16:
                length, kind = struct.unpack_from("=IH", answer)
                if kind != 0xA00:  # NFT_MSG_NEWTABLE; anything else is the end
                    return sorted(found)
                found.append(answer[16:length])
                answer = answer[(length + 3) & ~3 :]


def hauberk(*arguments: str, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hauberk", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def up(*arguments: str) -> None:
    done = hauberk("up", "--detach", "--wait", *arguments)
    assert done.returncode == 0, done.stderr


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Life:
    """A process, not to be mistaken for another that gets its pid later."""

    pid: int
    started: str

    @property
    def lives(self) -> bool:
        return _life(self.pid) == self


def _life(pid: int) -> Life | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else Life(pid, fields[19])


def init_of(places: Places) -> int:
    pid = lock.holder(places.lock)
    assert pid is not None
    return pid


def descendants(pid: int) -> list[int]:
    """`pid` and all below it, eldest first."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(word) for word in (task / "children").read_text().split()]
    return [pid, *(deeper for child in children for deeper in descendants(child))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def part(places: Places, name: str) -> int:
    return next(pid for pid in descendants(init_of(places)) if command_of(pid).endswith(f"-m hauberk {name}"))


@dataclass(frozen=True)
class Footprint:
    """Every process of a mesh, and every namespace they were in that the machine itself is not in."""

    lives: tuple[Life, ...]
    namespaces: frozenset[str]

    def remains(self) -> list[str]:
        alive = [command_of(life.pid) for life in self.lives if life.lives]
        return [*alive, *sorted(self.namespaces & _namespaces_in_use())]


def footprint(places: Places) -> Footprint:
    pids = descendants(init_of(places))
    lives = tuple(life for pid in pids if (life := _life(pid)) is not None)
    return Footprint(lives, frozenset(name for pid in pids for name in _namespaces(pid)) - _namespaces(os.getpid()))


def _namespaces(pid: int) -> frozenset[str]:
    found = set()
    for kind in ("mnt", "net", "pid", "uts", "ipc", "user"):
        with contextlib.suppress(OSError):
            found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
    return frozenset(found)


def _namespaces_in_use() -> frozenset[str]:
    """Of every process that can be looked at, including those that are only held by a descriptor."""
    used: set[str] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        used |= _namespaces(int(entry.name))
        with contextlib.suppress(OSError):
            for descriptor in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    used.add(str(descriptor.readlink()))
    return frozenset(used)


def start_pods(places: Places) -> None:
    """One pod without a sidecar whose program runs, and one whose sidecar does."""
    text = "---".join(POD.format(name=name, inject=inject) for name, inject in (("bare", "false"), ("meshed", "true")))
    status, answer = UnixHttp(places.api_socket).request("POST", "/v1/apply", json={"files": [{"name": "pods.yaml", "text": text}]})
    assert status == 200, answer
    until(lambda: any(command_of(pid) == "sleep 1000" for pid in descendants(init_of(places))), "a program runs")
    until(lambda: any("envoy" in command_of(pid).split(" ")[0] for pid in descendants(init_of(places))), "an Envoy runs")


def mounts_below(places: Places) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(places.state.parent.parent) in line]


def assert_nothing_is_left(places: Places, left: Footprint) -> None:
    until(lambda: not left.remains(), f"everything ended, but: {left.remains()}")
    assert mounts_below(places) == []
    assert not places.run.exists()


def test_down_ends_everything_and_keeps_the_objects(places: Places) -> None:
    up()
    start_pods(places)
    all_of_it = footprint(places)
    assert len(all_of_it.lives) >= 5
    assert len(all_of_it.namespaces) >= 5
    done = hauberk("down")
    assert done.returncode == 0, done.stderr
    assert_nothing_is_left(places, all_of_it)
    assert places.objects.exists()
    up()
    pods = json.loads(hauberk("get", "pods", "-o", "json").stdout)["items"]
    assert {pod["metadata"]["name"] for pod in pods} == {"bare", "meshed"}
    all_of_it = footprint(places)
    assert hauberk("down", "--purge").returncode == 0
    assert_nothing_is_left(places, all_of_it)
    assert not places.state.exists()


def test_when_everything_is_killed_nothing_is_left_after_the_next_up_and_down(places: Places) -> None:
    up()
    start_pods(places)
    all_of_it = footprint(places)
    for life in reversed(all_of_it.lives):
        with contextlib.suppress(ProcessLookupError):
            os.kill(life.pid, signal.SIGKILL)
    until(lambda: not all_of_it.remains(), "everything that was killed is gone")
    assert places.init_socket.exists()  # the debris that only the next command can clear away
    up()
    again = footprint(places)
    assert hauberk("down").returncode == 0
    assert_nothing_is_left(places, again)


def test_when_init_is_killed_the_kernel_ends_everything_and_down_clears_away_the_rest(places: Places) -> None:
    up()
    start_pods(places)
    all_of_it = footprint(places)
    os.kill(init_of(places), signal.SIGKILL)
    until(lambda: not all_of_it.remains(), "everything has ended with its init")
    done = hauberk("down")
    assert done.returncode == 0, done.stderr
    assert_nothing_is_left(places, all_of_it)


@pytest.mark.parametrize("name", ["agent", "control-plane"])
def test_a_part_that_is_killed_comes_back_and_the_pods_outlive_it(places: Places, name: str) -> None:
    up()
    start_pods(places)
    before = {
        command_of(pid): _life(pid) for pid in descendants(init_of(places)) if "sleep" in command_of(pid) or "envoy" in command_of(pid)
    }
    assert len(before) >= 2
    killed = part(places, name)
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in descendants(init_of(places)), "it has ended")
    up()  # says that it runs already, once it is ready
    assert part(places, name) != killed
    assert all(life is not None and life.lives for life in before.values())
    all_of_it = footprint(places)
    assert hauberk("down").returncode == 0
    assert_nothing_is_left(places, all_of_it)


def test_an_init_that_does_not_answer_is_ended_by_force(places: Places) -> None:
    up()
    all_of_it = footprint(places)
    os.kill(init_of(places), signal.SIGSTOP)
    done = hauberk("down", "--timeout", "1s")
    assert done.returncode == 0, done.stderr
    assert_nothing_is_left(places, all_of_it)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_mesh_in_the_foreground_ends_with_its_command(places: Places, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-m", "hauberk", "up"], stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        assert any("is ready; Ctrl-C ends it" in line for line in command.stderr)
        start_pods(places)
        all_of_it = footprint(places)
        command.send_signal(number)
        code = command.wait(PATIENCE)
    assert code == (0 if number != signal.SIGKILL else -number)
    until(lambda: not all_of_it.remains(), "the mesh has followed")
    if number == signal.SIGKILL:
        # Init empties the directory itself; the directory goes with the next command.
        assert list(places.run.iterdir()) == []
        hauberk("down")
    assert_nothing_is_left(places, all_of_it)


def test_up_on_a_running_mesh_says_so_and_changes_nothing(places: Places) -> None:
    up()
    first = init_of(places)
    second = hauberk("up", "--detach")
    assert (second.returncode, "already running" in second.stderr) == (0, True)
    other = hauberk("up", "--detach", "--rootless" if ROOT else "--no-rootless")
    assert other.returncode == 1
    assert "down" in other.stderr or "root" in other.stderr
    assert init_of(places) == first


def test_down_without_a_mesh_says_so(places: Places) -> None:
    done = hauberk("down")
    assert done.returncode == 3
    assert "not running" in done.stderr
    assert not places.state.exists()


def test_a_state_directory_of_another_version_is_refused(places: Places) -> None:
    places.state.mkdir(parents=True)
    for version, word in (("0", "older"), ("99", "newer")):
        (places.state / "version").write_text(version)
        done = hauberk("up", "--detach")
        assert done.returncode == 1
        assert f"{word} version" in done.stderr
    (places.state / "version").unlink()
    places.objects.touch()
    assert "older version" in hauberk("up", "--detach").stderr


def test_a_place_that_cannot_be_written_is_named_with_a_remedy(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, "/proc/hauberk")
    done = hauberk("up", "--detach")
    assert done.returncode == 1
    assert "/proc/hauberk" in done.stderr
    assert STATE_VARIABLE in done.stderr
    assert places.lock.exists() is False


def test_an_envoy_that_is_missing_or_cannot_run_is_named_with_a_remedy(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAUBERK_AGENT_ENVOY", "/no/such/envoy")
    done = hauberk("up", "--detach")
    assert (done.returncode, "no Envoy at /no/such/envoy" in done.stderr) == (1, True)
    monkeypatch.setenv("HAUBERK_AGENT_ENVOY", "/etc/passwd")
    assert "/etc/passwd is not executable" in hauberk("up", "--detach").stderr
    assert not places.state.exists()


@pytest.mark.skipif(not ROOT, reason="this is what it is run by")
def test_all_of_this_holds_without_privileges() -> None:
    done = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__))])
    assert done.returncode == 0, done.stdout + done.stderr
