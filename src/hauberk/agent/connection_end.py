"""Ending connections in a pod's network, whatever program or proxy holds them."""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from hauberk.agent.sidecar_pod import PodRef
from hauberk.kit.log import logger
from hauberk.linux.failure import LinuxFailure, UnknownNetwork
from hauberk.linux.launch import Launcher
from hauberk.linux.netns import in_network_async
from hauberk.linux.socket_destroy import Connection, destroy_connections

_AT_ONCE: Final = 16  # networks that are looked through at a time, each by a thread
_log = logger("connections")


class ConnectionEnd:
    """Called with a pod and what is condemned there: how many connections were ended."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, pod: PodRef, condemned: Callable[[Connection], bool]) -> int:
        """0 also where the kernel cannot do it, which is told in the log."""
        async with self._turns:
            return await self._end(pod, condemned)

    async def _end(self, pod: PodRef, condemned: Callable[[Connection], bool]) -> int:
        try:
            network = await self._launcher.network(pod.network)
        except UnknownNetwork:
            return 0  # the pod has just ended, and its connections with it
        try:
            return await in_network_async(network, lambda: destroy_connections(condemned))
        except (LinuxFailure, OSError) as exc:
            hint = getattr(exc, "hint", "")
            _log.error("connections could not be ended", pod=pod.full_name, reason=str(exc), hint=hint)
            return 0
        finally:
            os.close(network)
