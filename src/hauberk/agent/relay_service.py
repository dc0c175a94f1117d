"""The relay's two ends: the pod's own socket for its Envoy, and a stream to the control plane that is opened again and again."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hauberk.agent.relay import Relay
from hauberk.agent.relay_cache import RelayCache
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.xds.resource import Resource
from hauberk.xds.stream import ClientStream, DeltaServer, dial

# Looking whether the control plane is back costs a system call, so it is done often: its restart should go unnoticed.
RECONNECT = Backoff(first=0.05, limit=0.5)
# Endpoints change many times a second while something is scaled; the cache is for the day after.
CACHE_SECONDS = 1.0

_log = logger("relay")


@asynccontextmanager
async def serving(relay: Relay, path: Path, group: int | None) -> AsyncIterator[None]:
    """Envoy reaches `relay` at `path` meanwhile, and nobody but the members of `group` (None: this process's user) and root does."""
    # Of an agent that was killed: its socket is still a file, and nobody listens.
    await asyncio.to_thread(path.unlink, missing_ok=True)
    async with DeltaServer(relay.accept).serving(f"unix:{path}"):
        _reserve(path, group)
        yield


def _reserve(path: Path, group: int | None) -> None:
    if group is not None:
        # Never what a link leads to: Envoy may write to the directory, and might put one in the socket's place.
        os.chown(path, -1, group, follow_symlinks=False)
    # Not its owner's user, which is the same for the Envoys of all pods.
    path.chmod(0o600 if group is None else 0o660)


async def follow_upstream(relay: Relay, path: Path) -> NoReturn:
    """`relay` talks to the control plane at `path` whenever there is one."""
    failures = 0
    while True:
        if await _answers(path):
            failures = 0 if await _converse(relay, path) else failures + 1
        else:
            failures += 1
        await asyncio.sleep(RECONNECT.delay(max(failures, 1), random.uniform(-1.0, 1.0)))  # noqa: S311 - spreads load only


async def keep_cache(relay: Relay, cache: RelayCache, changed: asyncio.Event) -> NoReturn:
    """What Envoy accepted is on disk, a moment after each change."""
    kept: frozenset[tuple[str, str, str]] = frozenset()
    while True:
        await changed.wait()
        changed.clear()
        await asyncio.sleep(CACHE_SECONDS)
        resources = relay.settled_resources
        if resources is None or not relay.connected:
            continue
        if (names := _names(resources)) != kept:
            try:
                await asyncio.to_thread(cache.write, resources)
            except OSError as exc:
                # A full disk: Envoy has what it needs, and only the copy is older than it could be.
                _log.warning("a sidecar's configuration could not be remembered", path=str(cache.path), reason=str(exc))
            else:
                kept = names


def _names(resources: tuple[Resource, ...]) -> frozenset[tuple[str, str, str]]:
    return frozenset((r.type_url, r.name, r.version) for r in resources)


async def _converse(relay: Relay, path: Path) -> bool:
    """Whether the control plane said anything before the stream ended."""
    heard = False
    try:
        async with dial(f"unix:{path}") as stream:
            requests: asyncio.Queue[DeltaDiscoveryRequest] = asyncio.Queue()
            sender = asyncio.create_task(_send(stream, requests), name="relay:send")
            try:
                relay.connect(requests.put_nowait)
                async for response in stream:
                    heard = True
                    relay.on_response(response)
            finally:
                relay.disconnect()
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
    except grpc.aio.AioRpcError as exc:
        _log.info("the control plane's stream ended", reason=exc.details())
    return heard


async def _send(stream: ClientStream, requests: asyncio.Queue[DeltaDiscoveryRequest]) -> None:
    # When the stream has ended, reading says so; a failed write needs no second messenger.
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await stream.send(await requests.get())


async def _answers(path: Path) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(probe, str(path))
    except OSError:
        return False
    finally:
        probe.close()
    return True
