"""What a pod stands on before any program of it runs: network, rules, sidecar. Each step may be repeated."""

import asyncio
import os
from contextlib import suppress
from typing import Final

from hauberk.agent.container import Place
from hauberk.agent.pod_world import World, reference
from hauberk.agent.signals import SIGKILL
from hauberk.api.pod import Pod
from hauberk.interception.capture import read_capture
from hauberk.interception.install import install
from hauberk.interception.ruleset import build_ruleset
from hauberk.kit.log import logger
from hauberk.linux.failure import UnknownNetwork, UnknownProcess
from hauberk.linux.netns import in_network_async
from hauberk.mesh.workload import is_meshed

# A sidecar whose control plane is away must not keep other pods from being started.
_SLOT_SECONDS: Final = 5.0
_log = logger("agent.pod")


class PodGround:
    """Network, rules and sidecar of one pod."""

    def __init__(self, pod: Pod, world: World) -> None:
        self._pod = pod
        self._uid = pod.metadata.uid
        self._world = world
        self._place: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self.meshed = is_meshed(pod)
        self.addresses: tuple[str, ...] = ()

    async def place(self) -> Place:
        """Where the pod's programs are reached, as soon as there is a network."""
        return await asyncio.shield(self._place)

    async def connect(self) -> None:
        """The pod has its network, its addresses and, if it has a sidecar, its rules: nothing passes before there is a sidecar."""
        assigned = self._world.addresses.assign(self._uid)
        network = await self._world.launcher.create_network(self._uid)
        try:
            await self._world.network.attach(self._uid, network, assigned)
            self.addresses = self._world.network.addresses(assigned)
            if self.meshed:
                capture, mistakes = read_capture(self._pod.metadata.annotations, self._world.network.nameservers)
                for mistake in mistakes:
                    _log.warning("an annotation is ignored", pod=str(self._pod.key), annotation=mistake.annotation, why=mistake.message)
                await in_network_async(network, lambda: install(build_ruleset(capture)))
            # Before any program of it starts, which sees the directory of its socket from its first moment.
            await self._world.workloads.open(reference(self._pod, self.addresses, self._world.node), network)
        except BaseException:
            os.close(network)
            raise
        if self._place.done():
            os.close(network)
        else:
            self._place.set_result(Place(network=network, addresses=self.addresses))

    async def start_sidecar(self) -> None:
        """The pod's sidecar has its certificate and its configuration."""
        if self.meshed:
            await self._world.sidecars.start(reference(self._pod, self.addresses, self._world.node))

    async def start_sidecar_in_turn(self) -> None:
        """As `start_sidecar`; the slot among the pods that start is given back when it takes long."""
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(self.start_sidecar())
            async with self._world.slots:
                await asyncio.wait({starting}, timeout=_SLOT_SECONDS)
            await starting

    async def drain(self, limit: float) -> None:
        """Callers were told to go elsewhere, as far as that is possible within so many seconds."""
        if self.meshed:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await self._world.sidecars.drain(self._uid)

    async def remove(self) -> None:
        """Nothing of the pod is left on this machine but its logs."""
        await self._world.sidecars.stop(self._uid)
        await self._kill_all()
        await self._world.workloads.close(self._uid)
        await self._world.network.detach(self._uid)
        if self._place.done():
            # The descriptor would keep the namespace alive; whoever still awaits the place is being cancelled.
            os.close(self._place.result().network)
            self._place = asyncio.get_running_loop().create_future()
        with suppress(UnknownNetwork):
            await self._world.launcher.delete_network(self._uid)
        self._world.addresses.release(self._uid)

    async def _kill_all(self) -> None:
        prefix = self._uid + "/"
        # Commands beside a program end with it; so the names with two parts first would do, but all at once is as good.
        left = [process for process in await self._world.launcher.processes() if process.name.startswith(prefix)]
        for process in left:
            if process.running:
                with suppress(UnknownProcess):
                    await self._world.launcher.signal(process.name, SIGKILL)
        for process in left:
            with suppress(UnknownProcess):
                await self._world.launcher.wait(process.name)
            await self._world.launcher.forget(process.name)
