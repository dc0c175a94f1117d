"""The sockets of the Workload API: what a connection costs before it is known to be somebody's."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from tests.unit.agent.workload_rig import Authority, HandClock, watched

from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.workload_api import WorkloadApi
from hauberk.agent.workload_front import MOST_CONNECTIONS, Crowded, Front
from hauberk.kit.places import Places
from hauberk.kit.unix_http import AsyncUnixHttp
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process

POD = PodRef(uid="u-1", namespace="shop", name="web-1", service_account="web", network="n")


class SlowLauncher:
    """Is asked for processes, and does not answer before it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.asked_once_more = asyncio.Semaphore(0)
        self.answers = asyncio.Event()

    async def processes(self, prefix: str = "") -> tuple[Process, ...]:
        self.asked.append(prefix)
        self.asked_once_more.release()
        await self.answers.wait()
        return ()


@pytest.fixture
async def launcher() -> SlowLauncher:
    return SlowLauncher()


@pytest.fixture
async def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: SlowLauncher) -> AsyncIterator[Path]:
    """The socket of a pod that is served."""
    monkeypatch.setenv("HAUBERK_RUN_DIR", str(tmp_path))
    places, authority = Places(), Authority(HandClock())
    api = WorkloadApi(
        places=places,
        launcher=cast("Launcher", launcher),
        api=cast("AsyncUnixHttp", None),  # of the control plane, which nothing here asks
        authority=authority,
        trust=watched(authority.trust()),
        node="here",
        own=True,
        clock=authority.clock,
    )
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    await api.open(POD, network)
    os.close(network)
    yield places.workload_run(POD.uid) / "api.sock"
    await api.close(POD.uid)


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    connection.connect(str(path))
    return connection


async def test_connections_are_counted_before_anything_is_looked_up_for_them(path: Path, launcher: SlowLauncher) -> None:
    kept = [connect(path)]
    for _ in range(1, MOST_CONNECTIONS):
        await launcher.asked_once_more.acquire()
        kept.append(connect(path))
    await launcher.asked_once_more.acquire()
    with connect(path) as one_more:
        assert await asyncio.get_running_loop().sock_recv(one_more, 1) == b""
    # Of the pod's own processes, not of all that the machine has.
    assert launcher.asked == ["u-1/"] * MOST_CONNECTIONS
    for each in kept:
        each.close()


async def test_who_is_no_program_of_the_pod_is_turned_away_and_gives_his_place_back(path: Path, launcher: SlowLauncher) -> None:
    launcher.answers.set()
    for _ in range(MOST_CONNECTIONS + 1):
        with connect(path) as stranger:
            assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""
    assert len(launcher.asked) == MOST_CONNECTIONS + 1


def test_one_owner_has_so_many_places_and_others_have_theirs(tmp_path: Path) -> None:
    front = Front(tmp_path / "ids.sock")
    places = [front.place("u-1") for _ in range(MOST_CONNECTIONS)]
    for place in places:
        place.__enter__()
    with pytest.raises(Crowded), front.place("u-1"):
        pass
    with front.place("u-2"):
        pass
    places[0].__exit__(None, None, None)
    with front.place("u-1"):
        pass
