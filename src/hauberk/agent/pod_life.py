"""The life of one pod: its ground, its programs, its status; and in the reverse order its end."""

import asyncio
import pwd
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hauberk.agent.container import ContainerLife, Setting
from hauberk.agent.environment import Surroundings, referenced_config_maps
from hauberk.agent.finalization import finalize
from hauberk.agent.log_files import remove_logs
from hauberk.agent.pod_cache import PodCache
from hauberk.agent.pod_ground import PodGround
from hauberk.agent.pod_status import SIDECAR_READY, Seen, Trouble, build_status
from hauberk.agent.pod_world import Found, World
from hauberk.agent.program import SIDECAR, Ground, build_program, part_name
from hauberk.agent.restart import build_backoff, restarts
from hauberk.agent.status_report import StatusReport
from hauberk.api.container import Container
from hauberk.api.pod import Pod
from hauberk.api.pod_status import ContainerState, ContainerStatus, Waiting
from hauberk.kit.backoff import Backoff
from hauberk.kit.log import logger
from hauberk.linux.failure import LauncherGone
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process, ProcessSpec

_RETRY: Final = Backoff(first=0.5, limit=30.0)
_ENDED: Final = ("Succeeded", "Failed")
_TOLD_SECONDS: Final = 5.0
NODE: Final = "node"  # the launcher's name of the namespace that holds the bridge
_log = logger("agent.pod")


class PodLife:
    """One pod. `run` returns when nothing of it is left."""

    def __init__(self, pod: Pod, world: World, cache: PodCache, found: Found) -> None:
        self.pod = pod
        self._world = world
        self._cache = cache
        self._found = found
        self._uid = pod.metadata.uid
        self._ground = PodGround(pod, world)
        self.logs = world.places.pod_logs(pod.metadata.namespace, pod.metadata.name, self._uid)
        path = f"/v1/objects/pods/{quote(pod.metadata.namespace)}/{quote(pod.metadata.name)}"
        self._path = path
        self._report = StatusReport(world.api, path, self._uid, world.settings.status_interval_seconds, pod.status)
        self._trouble: Trouble | None = None
        self._terminating = False
        self._sidecar_ready = self._sidecar_was_ready()
        self._sidecar_problem = ""
        self._sidecar_changed = asyncio.Event()
        self._gate = asyncio.Event()
        self._ending = asyncio.Event()
        self._forget = True
        setting = self._setting()
        self._inits = [ContainerLife(each, setting, self._before(each, init=True)) for each in pod.spec.init_containers]
        self._containers = [ContainerLife(each, setting, self._before(each, init=False)) for each in pod.spec.containers]
        # An agent that starts again finds a pod that was set up; a mesh that starts again does not, and starts from the beginning.
        self._initialized = found.network and self._was("Initialized")

    # --- what others may know and ask

    def container(self, name: str | None) -> ContainerLife | None:
        """The container of that name; the first if none is named."""
        if name is None:
            return self._containers[0]
        return next((each for each in (*self._containers, *self._inits) if each.container.name == name), None)

    @property
    def ground(self) -> PodGround:
        """The pod's network."""
        return self._ground

    def update(self, pod: Pod) -> None:
        """The control plane has this version of the pod; only its end matters, everything else of a pod is fixed."""
        self.pod = pod.model_copy(update={"status": self.pod.status})
        if pod.metadata.deletion_timestamp is not None:
            self.end(forget=True)

    def review(self) -> None:
        """The pod is not believed to be ready because it was in a mesh that has ended, perhaps by force."""
        if self.pod.status.ready and self.ending is None:
            self._changed()

    async def told(self) -> None:
        """The control plane knows the pod's status, or has not listened for some seconds."""
        await self._report.told(_TOLD_SECONDS)

    def sidecar_changed(self) -> None:
        """The state of the pod's sidecar may be another."""
        self._sidecar_changed.set()

    @property
    def envoy_found(self) -> bool:
        """Whether its Envoy ran already when this agent took the pod on: another agent has told it things."""
        process = self._found.processes.get(SIDECAR)
        return process is not None and process.running

    @property
    def ending(self) -> bool | None:
        """Whether the pod is being ended, and then whether it is forgotten too."""
        return self._forget if self._ending.is_set() else None

    def end(self, *, forget: bool) -> None:
        """The pod is ended; with `forget` it is also no longer wanted, and its object and its logs go with it."""
        self._forget = forget
        self._ending.set()

    # --- its life

    async def run(self) -> None:
        """Lives until it is ended."""
        self._cache.keep(self.pod)
        async with asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(self._report.run(), name=f"report:{self.pod.key}")
            living = tasks.create_task(self._live(), name=f"live:{self.pod.key}")
            await self._ending.wait()
            try:
                await self._end()
            finally:
                living.cancel()
            await asyncio.wait({living})
            await self._ground.remove()
            if not self._forget:
                self._changed()
                await self._report.told(1.0)
            reporting.cancel()
        if self._forget:
            await self._finalize()

    async def _live(self) -> None:
        if self.pod.metadata.deletion_timestamp is not None or self.pod.status.phase in _ENDED:
            return
        failures = 0
        while True:
            try:
                await self._live_once()
            except ExceptionGroup as group:
                if group.subgroup(LauncherGone) is not None:
                    raise  # the whole mesh is ending
                # Anything else that happens to a pod must not take the agent along.
                failures += 1
                self._stumble(_first_leaf(group))
            else:
                return
            await asyncio.sleep(_RETRY.delay(failures))
            self._found = await find_pod(self._world.launcher, self._uid)

    async def _live_once(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            ground = tasks.create_task(self._stand(), name=f"ground:{self.pod.key}")
            await self._run_programs()
            ground.cancel()
        if not self._ending.is_set():
            # All programs have ended for good: nobody needs the sidecar any more.
            self._sidecar_ready = False
            self._changed()
            await self._ground.remove()

    async def _stand(self) -> None:
        async with self._world.slots:
            await self._ground.connect()
        self._trouble = None
        self._changed()
        # The control plane configures a sidecar only when it knows the pod's addresses.
        await self._report.told(_TOLD_SECONDS)
        await self._ground.start_sidecar_in_turn()
        self._gate.set()
        while True:
            self._sidecar_changed.clear()
            self._look_at_sidecar()
            await self._sidecar_changed.wait()

    async def _run_programs(self) -> None:
        for life in self._inits if not self._initialized else ():
            ending = await life.run(self._found.processes.get(part_name(life.container.name)))
            if ending is not None and ending.exit_code != 0:
                return
        self._initialized = True
        async with asyncio.TaskGroup() as tasks:
            for life in self._containers:
                tasks.create_task(self._run_program(life), name=life.process)

    async def _run_program(self, life: ContainerLife) -> None:
        found = self._found.processes.get(part_name(life.container.name))
        terminated = life.status.state.terminated
        if found is None and terminated and not restarts(self.pod.spec.restart_policy, terminated.exit_code):
            return  # it ended for good before this agent was started
        await life.run(found)

    def _stumble(self, error: BaseException) -> None:
        hint = getattr(error, "hint", "")
        self._trouble = Trouble(reason=type(error).__name__, message=f"{error}; {hint}" if hint else str(error) or repr(error))
        _log.warning("a pod is not set up; it is tried again", pod=str(self.pod.key), exc_info=error)
        self._changed()

    def _look_at_sidecar(self) -> None:
        if not self._ground.meshed:
            return
        state = self._world.sidecars.state(self._uid)
        ready = state is not None and state.ready
        problem = state.problem if state is not None and not ready else ""
        if (ready, problem) != (self._sidecar_ready, self._sidecar_problem):
            self._sidecar_ready, self._sidecar_problem = ready, problem
            self._changed()

    # --- its end

    async def _end(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.pod.spec.termination_grace_period_seconds
        self._terminating = True
        served = self.pod.status.ready
        self._changed()
        # When the whole mesh ends there is nobody left to be spared.
        if served and self._forget and self._world.settings.drain_seconds > 0:
            await self._leave(until)
        async with asyncio.TaskGroup() as tasks:
            for life in (*self._inits, *self._containers):
                tasks.create_task(life.end(until))

    async def _leave(self, until: float) -> None:
        """No caller sends anything new: they were told by the control plane, and by the sidecar itself."""
        loop = asyncio.get_running_loop()
        wait = min(self._world.settings.drain_seconds, max(0.0, until - loop.time()))
        await self._report.told(wait)
        await self._ground.drain(wait)
        await asyncio.sleep(wait)

    async def _finalize(self) -> None:
        await finalize(self._world.api, self._path, self._uid)
        self._cache.drop(self._uid)
        await asyncio.to_thread(remove_logs, self.logs)

    # --- what it is made of

    def _setting(self) -> Setting:
        return Setting(
            uid=self._uid,
            policy=self.pod.spec.restart_policy,
            grace=self.pod.spec.termination_grace_period_seconds,
            launcher=self._world.launcher,
            backoff=build_backoff(self._world.settings),
            logs=self.logs,
            place=self._ground.place,
            gate=self._gate.wait,
            prepare=self._prepare,
            changed=self._changed,
        )

    async def _prepare(self, container: Container) -> ProcessSpec:
        place = await self._ground.place()
        maps = await self._world.config_maps.read(self.pod.metadata.namespace, referenced_config_maps(container))
        security = container.security_context.run_as_user
        around = Surroundings(
            addresses=place.addresses,
            node=self._world.node,
            home=home_of(security if security is not None else self.pod.spec.security_context.run_as_user),
            inherited=self._world.inherited,
            config_maps=maps,
        )
        ground = Ground(
            nameservers=self._world.network.nameservers,
            rootless=self._world.rootless,
            sockets=str(self._world.places.workload_run(self._uid)),
        )
        return build_program(self.pod, container, around, ground)

    # --- what is told

    def _changed(self) -> None:
        seen = Seen(
            addresses=self._ground.addresses or tuple(each.ip for each in self.pod.status.pod_ips),
            containers=tuple(each.status for each in self._containers),
            init_containers=tuple(each.status for each in self._inits),
            initialized=self._initialized,
            sidecar_ready=self._sidecar_ready if self._ground.meshed else None,
            sidecar_problem=self._sidecar_problem,
            terminating=self._terminating,
            trouble=self._trouble,
            start_time=self._world.clock.now(),
        )
        status = build_status(self.pod, seen, self._world.clock.now())
        if status != self.pod.status:
            self.pod = self.pod.model_copy(update={"status": status})
            self._cache.keep(self.pod)
            self._report.tell(status)

    def _before(self, container: Container, *, init: bool) -> ContainerStatus | None:
        statuses = self.pod.status.init_container_statuses if init else self.pod.status.container_statuses
        before = next((each for each in statuses if each.name == container.name), None)
        if before is None or (self._found.network and (part_name(container.name) in self._found.processes or not before.state.running)):
            return before
        # It ran in a mesh that has ended: what was true of it then is no longer.
        waiting = ContainerState(waiting=Waiting(reason="ContainerCreating"))
        return before.model_copy(update={"state": waiting, "last_state": before.last_state, "ready": False, "started": False})

    def _sidecar_was_ready(self) -> bool:
        process = self._found.processes.get(SIDECAR)
        return process is not None and process.running and self._was(SIDECAR_READY)

    def _was(self, condition: str) -> bool:
        found = self.pod.status.condition(condition)
        return found is not None and found.status == "True"


def home_of(uid: int | None) -> str:
    """The home directory of that user of the machine; the agent's own for none."""
    try:
        return pwd.getpwuid(uid).pw_dir if uid is not None else str(Path.home())
    except (KeyError, RuntimeError):
        return "/"


async def find_pod(launcher: Launcher, uid: str) -> Found:
    """What the launcher holds of a pod."""
    return (await find_pods(launcher)).get(uid, Found())


async def find_pods(launcher: Launcher) -> dict[str, Found]:
    """What the launcher holds of every pod, by uid; commands that ran beside programs are not among it."""
    networks = set(await launcher.networks())
    processes: dict[str, dict[str, Process]] = {}
    for process in await launcher.processes():
        uid, slash, part = process.name.partition("/")
        if slash and "/" not in part:
            processes.setdefault(uid, {})[part] = process
    uids = (networks | processes.keys()) - {NODE}
    return {uid: Found(processes=processes.get(uid, {}), network=uid in networks) for uid in uids}


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found = group.exceptions[0]
    return _first_leaf(found) if isinstance(found, BaseExceptionGroup) else found
