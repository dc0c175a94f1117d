"""How Envoy is started, adopted and ended; the launcher is played."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from hauberk.agent.sidecar_envoy import build_arguments, build_node
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.sidecar_process import EnvoyProcess, proxy_group, proxy_uid
from hauberk.linux.failure import UnknownProcess
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process, ProcessSpec

POD = PodRef(uid="u-1", namespace="shop", name="web-1", service_account="web", network="u-1", addresses=("10.244.0.5", "fd00::5"))


class FakeLauncher:
    """Processes that run until they are signalled; `deaf` ones hear SIGKILL only."""

    def __init__(self) -> None:
        self.running: dict[str, bool] = {}
        self.spawned: list[ProcessSpec] = []
        self.signals: list[int] = []
        self.deaf = False
        self.ended = asyncio.Event()

    async def processes(self) -> tuple[Process, ...]:
        return tuple(Process(name=name, pid=1, running=running) for name, running in self.running.items())

    async def spawn(self, name: str, spec: ProcessSpec, _stdio: tuple[int, int, int]) -> Process:
        self.spawned.append(spec)
        self.running[name] = True
        return Process(name=name, pid=1)

    async def signal(self, name: str, number: int) -> None:
        if not self.running.get(name):
            raise UnknownProcess(name)
        self.signals.append(number)
        if number == signal.SIGKILL or not self.deaf:
            self.running[name] = False
            self.ended.set()

    async def wait(self, name: str) -> int:
        if name not in self.running:
            raise UnknownProcess(name)
        await self.ended.wait()
        return 9

    async def forget(self, name: str) -> None:
        if not self.running.get(name):
            self.running.pop(name, None)


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


def process(launcher: FakeLauncher) -> EnvoyProcess:
    return EnvoyProcess(cast(Launcher, launcher), POD.process)


async def ensure(launcher: FakeLauncher, tmp_path: Path) -> bool:
    binary = tmp_path / "envoy"
    binary.touch()
    return await process(launcher).ensure(POD, binary=binary, argv=("envoy",), directory=tmp_path, log=tmp_path / "logs" / "proxy.log")


async def test_envoy_gets_its_pods_network_one_capability_and_no_core_file(launcher: FakeLauncher, tmp_path: Path) -> None:
    assert await ensure(launcher, tmp_path)
    (spec,) = launcher.spawned
    assert (spec.network, spec.capabilities, spec.container, spec.cwd) == ("u-1", ("NET_ADMIN",), None, str(tmp_path))
    assert (spec.uid, spec.gid) == (proxy_uid(), proxy_group(POD))
    assert ("CORE", 0, 0) in spec.rlimits
    assert spec.no_new_privs
    assert (tmp_path / "logs" / "proxy.log").stat().st_mode & 0o777 == 0o600


async def test_an_envoy_that_runs_is_adopted(launcher: FakeLauncher, tmp_path: Path) -> None:
    await ensure(launcher, tmp_path)
    assert not await ensure(launcher, tmp_path)
    assert len(launcher.spawned) == 1


async def test_an_envoy_that_ended_unseen_is_started_anew(launcher: FakeLauncher, tmp_path: Path) -> None:
    launcher.running[POD.process] = False
    assert await ensure(launcher, tmp_path)


async def test_stopping_asks_first(launcher: FakeLauncher, tmp_path: Path) -> None:
    await ensure(launcher, tmp_path)
    await process(launcher).stop()
    assert (launcher.signals, launcher.running) == ([signal.SIGTERM], {})


async def test_an_envoy_that_does_not_listen_is_killed(launcher: FakeLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.agent.sidecar_process.STOP_SECONDS", 0.01)
    launcher.deaf = True
    await ensure(launcher, tmp_path)
    await process(launcher).stop()
    assert (launcher.signals, launcher.running) == ([signal.SIGTERM, signal.SIGKILL], {})


async def test_stopping_what_does_not_run_is_no_error(launcher: FakeLauncher) -> None:
    await process(launcher).stop()
    assert await process(launcher).ended() == -1


@pytest.mark.parametrize(
    ("ranges", "uid"), [("0 0 4294967295\n", 1337), ("0 1000 1\n", None), ("0 1000 1\n1 100000 65536\n", 1337), ("", None)]
)
def test_envoy_has_a_user_of_its_own_where_there_is_one(tmp_path: Path, ranges: str, uid: int | None) -> None:
    (tmp_path / "uid_map").write_text(ranges)
    assert proxy_uid(tmp_path / "uid_map") == uid


@pytest.mark.parametrize(("ranges", "group"), [("0 0 4294967295\n", 0x72F4_0005), ("0 0 65536\n", 1337), ("0 1000 1\n", None)])
def test_each_envoy_has_a_group_of_its_own_where_there_are_enough(tmp_path: Path, ranges: str, group: int | None) -> None:
    (tmp_path / "gid_map").write_text(ranges)
    assert proxy_group(POD, tmp_path / "gid_map") == group
    twin = replace(POD, uid="u-2", addresses=("10.244.0.6",))
    assert (proxy_group(twin, tmp_path / "gid_map") == group) == (group in (None, 1337))


def test_the_node_is_made_of_what_the_agent_knows() -> None:
    assert build_node(POD).id == "sidecar~10.244.0.5~web-1.shop~shop.svc.cluster.local"


def test_envoys_paths_are_relative_to_its_own_directory() -> None:
    bootstrap = " ".join(build_arguments(POD, Path("/usr/bin/envoy")))
    assert '"xds.sock"' in bootstrap
    assert '"admin.sock"' in bootstrap
