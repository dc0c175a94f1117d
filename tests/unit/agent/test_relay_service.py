"""The relay's ends: what a full disk and a link in the way do to them, and what they do not."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from envoy.config.core.v3.base_pb2 import Node

from hauberk.agent import relay_service
from hauberk.agent.relay import Relay
from hauberk.agent.relay_cache import RelayCache
from hauberk.agent.relay_service import keep_cache
from hauberk.xds.resource import Resource


class ConnectedRelay(Relay):
    """As if its Envoy had a stream."""

    @property
    def connected(self) -> bool:
        return True

    @property
    def settled_resources(self) -> tuple[Resource, ...]:
        return (Resource.of(Node(id="n"), "n"),)


@dataclass(frozen=True, slots=True)
class FullDisk(RelayCache):
    """Nothing can be written; tells that it was tried."""

    tried: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def write(self, resources: Iterable[Resource]) -> None:
        self.loop.call_soon_threadsafe(self.tried.release)
        raise OSError(28, "No space left on device")


async def test_a_full_disk_does_not_end_a_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_service, "CACHE_SECONDS", 0)
    changed, cache = asyncio.Event(), FullDisk(tmp_path / "pod.xds")
    keeping = asyncio.create_task(keep_cache(ConnectedRelay(Node()), cache, changed))
    for _ in range(2):
        changed.set()
        await asyncio.wait_for(cache.tried.acquire(), 10)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_who_is_given_a_socket_is_not_given_what_a_link_in_its_place_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[bool] = []
    monkeypatch.setattr(os, "chown", lambda *_, follow_symlinks=True: followed.append(follow_symlinks))
    (tmp_path / "xds.sock").touch()
    relay_service._reserve(tmp_path / "xds.sock", 1337)
    assert followed == [False]
