"""All pods of this machine: each has one task; what belongs to none is cleaned away."""

import asyncio
from contextlib import suppress

from hauberk.agent.pod_cache import PodCache
from hauberk.agent.pod_life import NODE, PodLife, find_pod, find_pods
from hauberk.agent.pod_source import AllPods, Change, ControlPlaneAway, PodGone, PodSeen, PodSource
from hauberk.agent.pod_world import Found, World
from hauberk.agent.signals import SIGKILL
from hauberk.api.pod import Pod
from hauberk.kit.log import logger
from hauberk.linux.failure import LauncherGone, UnknownNetwork, UnknownProcess

# A control plane that is just starting answers within this many attempts; after them the pods on disk are gone on with.
_PATIENT_ATTEMPTS = 4
_AGAIN_SECONDS = 1.0
_log = logger("agent.pods")


class Pods:
    """The pods, by uid. `run` starts, follows and ends them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cache = PodCache(world.places.agent_state / "pods")
        self._lives: dict[str, PodLife] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listed = False
        self._leaving = False
        self._settled = False

    @property
    def settled(self) -> bool:
        """Every pod has been taken on, and the control plane believes nothing of them that was true only in a mesh before this one."""
        return self._settled

    def find(self, namespace: str, name: str) -> PodLife | None:
        """The pod of that name."""
        return next(
            (life for life in self._lives.values() if (life.pod.metadata.namespace, life.pod.metadata.name) == (namespace, name)), None
        )

    def all(self) -> tuple[PodLife, ...]:
        """Every pod of this machine."""
        return tuple(self._lives.values())

    def sidecar_changed(self, uid: str) -> None:
        """The state of that pod's sidecar may be another."""
        if (life := self._lives.get(uid)) is not None:
            life.sidecar_changed()

    async def run(self) -> None:
        """Keeps the machine's pods as the control plane wants them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            async for change in PodSource(self._world.api, self._world.node).changes():
                await self._follow(change, tasks)

    async def end_all(self) -> None:
        """Every pod has been ended in order; their objects stay."""
        self._leaving = True
        for life in self._lives.values():
            life.end(forget=False)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def _follow(self, change: Change, tasks: asyncio.TaskGroup) -> None:
        match change:
            case AllPods(pods):
                await self._take_all(pods, tasks)
            case PodSeen(pod):
                await self._see(pod, tasks)
            case PodGone(pod):
                self._lose(pod.metadata.uid)
            case ControlPlaneAway(failures):
                if failures == _PATIENT_ATTEMPTS and not self._listed and not self._lives:
                    await self._go_on_alone(tasks)

    async def _take_all(self, pods: tuple[Pod, ...], tasks: asyncio.TaskGroup) -> None:
        wanted = {pod.metadata.uid for pod in pods}
        for uid in self._lives.keys() - wanted:
            self._lose(uid)
        first, self._listed = not self._listed, True
        if first:
            await self._clean(wanted | self._lives.keys())
            await self._keep_addresses(pods)
        for pod in pods:
            await self._see(pod, tasks)
        if first:
            tasks.create_task(self._settle(), name="pods:settle")

    async def _settle(self) -> None:
        await asyncio.gather(*(life.told() for life in self.all()))
        self._settled = True

    async def _go_on_alone(self, tasks: asyncio.TaskGroup) -> None:
        pods = self._cache.load()
        _log.info("the control plane is away; going on with the pods as last seen", pods=len(pods))
        await self._keep_addresses(pods)
        for pod in pods:
            await self._see(pod, tasks)
        self._settled = True

    async def _keep_addresses(self, pods: tuple[Pod, ...]) -> None:
        """Every pod that runs has its addresses before any other pod is given one, also if the book of addresses was lost."""
        found = await find_pods(self._world.launcher)
        running = (pod for pod in pods if found.get(pod.metadata.uid, Found()).network)
        self._world.addresses.adopt({pod.metadata.uid: tuple(each.ip for each in pod.status.pod_ips) for pod in running})

    async def _see(self, pod: Pod, tasks: asyncio.TaskGroup) -> None:
        if self._leaving:
            return
        uid = pod.metadata.uid
        life = self._lives.get(uid)
        if life is not None:
            life.update(pod)
            return
        life = PodLife(pod, self._world, self._cache, await find_pod(self._world.launcher, uid))
        life.update(pod)
        life.review()
        self._lives[uid] = life
        self._tasks[uid] = tasks.create_task(self._run(uid), name=f"pod:{pod.key}")

    def _lose(self, uid: str) -> None:
        if (life := self._lives.get(uid)) is not None:
            life.end(forget=True)

    async def _run(self, uid: str) -> None:
        try:
            while True:
                try:
                    await self._lives[uid].run()
                except ExceptionGroup as group:
                    if group.subgroup(LauncherGone) is not None:
                        raise
                    _log.exception("a pod's supervision failed; it begins anew", uid=uid)
                else:
                    return
                await asyncio.sleep(_AGAIN_SECONDS)
                await self._begin_anew(uid)
        finally:
            self._lives.pop(uid, None)
            self._tasks.pop(uid, None)

    async def _begin_anew(self, uid: str) -> None:
        before = self._lives[uid]
        life = PodLife(before.pod, self._world, self._cache, await find_pod(self._world.launcher, uid))
        if before.ending is not None:
            life.end(forget=before.ending)
        self._lives[uid] = life

    async def _clean(self, wanted: set[str]) -> None:
        """What an agent before this one left of pods that nobody wants any more is gone."""
        launcher = self._world.launcher
        found = await find_pods(launcher)
        for process in await launcher.processes():
            parts = process.name.split("/")
            # Three parts: a command beside a program, whose session ended with the agent that held it.
            if parts[0] not in wanted or len(parts) > 2:
                with suppress(UnknownProcess):
                    await launcher.signal(process.name, SIGKILL)
                    await launcher.wait(process.name)
                await launcher.forget(process.name)
        await self._world.network.keep_only(wanted)
        for uid in found.keys() - wanted - {NODE}:
            with suppress(UnknownNetwork):
                await launcher.delete_network(uid)
        self._world.addresses.keep_only(wanted)
        self._cache.keep_only(wanted)
