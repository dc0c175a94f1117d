"""Sessions: what cannot be a request is refused, and nobody suffers for it."""

import asyncio
import errno
import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hauberk.agent.pods import Pods
from hauberk.agent.sessions import Sessions
from hauberk.linux.failure import ProgramNotStarted
from hauberk.linux.launch import Launcher

LIFE = SimpleNamespace(
    pod=SimpleNamespace(key="Pod/default/web"),
    container=lambda name: SimpleNamespace(running=True, process="uid/main", environment=None),
)


async def ask(path: Path, request: bytes, descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.connect(str(path))
        socket.send_fds(sock, [request], descriptors)
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(asyncio.to_thread(sock.recv, 65536), 10))
        return answer


@pytest.mark.parametrize(
    ("request_", "descriptors", "error"),
    [
        (b'{"op":"exec","argv":7}', 3, "a command and three descriptors"),
        (b'{"op":"exec","argv":["ls"],"env":["A"]}', 3, "a command and three descriptors"),
        (b'{"op":"exec","argv":["ls"]}', 2, "a command and three descriptors"),
        (b'{"op":"exec","argv":["ls"]}', 6, "too large"),
        (b'{"op":"dial","port":"80"}', 0, "not a port"),
        (b"[" * 100_000, 0, "not JSON"),
        (b"\xff", 0, "not JSON"),
    ],
)
async def test_what_cannot_be_a_request_is_refused_and_sessions_go_on(
    tmp_path: Path, request_: bytes, descriptors: int, error: str
) -> None:
    pods = SimpleNamespace(find=lambda namespace, name: LIFE)
    serving = asyncio.create_task(Sessions(cast("Pods", pods), cast("Launcher", None)).serve(tmp_path / "s.sock"))
    await asyncio.sleep(0)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a list of names is all that is wanted
    for _ in range(2):
        assert error in (await ask(tmp_path / "s.sock", request_, (0,) * descriptors))["error"]
    assert not serving.done()
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


class Unable:
    """A launcher that can run nothing."""

    async def run(self, *_: object) -> int:
        raise ProgramNotStarted("nosuch", "exec", errno.ENOENT, hint="name one that exists")


async def test_a_command_that_does_not_exist_is_told_with_the_exit_code_of_a_shell(tmp_path: Path) -> None:
    async def environment() -> dict[str, str]:
        return {}

    container = SimpleNamespace(running=True, process="uid/main", environment=environment)
    life = SimpleNamespace(pod=LIFE.pod, container=lambda name: container)
    pods = SimpleNamespace(find=lambda namespace, name: life)
    serving = asyncio.create_task(Sessions(cast("Pods", pods), cast("Launcher", Unable())).serve(tmp_path / "s.sock"))
    await asyncio.sleep(0)
    answer = await ask(tmp_path / "s.sock", b'{"op":"exec","argv":["nosuch"]}', (0, 1, 2))
    assert (answer["error"], answer["exit"]) == ("there is no program 'nosuch' in the pod", 127)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
