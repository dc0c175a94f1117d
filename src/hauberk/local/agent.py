"""The agent of a mesh on one machine: pods, sidecars, names, records and sessions in one process and one event loop."""

import argparse
import asyncio
import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from hauberk.agent import server
from hauberk.agent.citadel_client import CitadelClient, local_channel
from hauberk.agent.clock_watch import ClockWatch
from hauberk.agent.config_maps import ConfigMapReader
from hauberk.agent.connection_end import ConnectionEnd
from hauberk.agent.environment import inherited_environment
from hauberk.agent.ipam import AddressBook
from hauberk.agent.log_files import rotate_forever
from hauberk.agent.names import NameServer
from hauberk.agent.network import PodNetwork
from hauberk.agent.pod_life import NODE
from hauberk.agent.pod_world import World, reference
from hauberk.agent.pods import Pods
from hauberk.agent.policy_sweep import PolicySweep
from hauberk.agent.records import Records
from hauberk.agent.revocation import Revocations
from hauberk.agent.sessions import Sessions
from hauberk.agent.settings import AgentSettings, SettingInvalid, read_settings
from hauberk.agent.sidecar import Sidecars
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.trust import MachineTrust
from hauberk.agent.trust_report import Held, TrustFollower
from hauberk.agent.workload_api import WorkloadApi
from hauberk.identity.wire import Holder, PodSubject
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import configure_logging, logger
from hauberk.kit.places import Places, PlaceUnusable
from hauberk.kit.unix_http import AsyncUnixHttp
from hauberk.linux import control
from hauberk.linux.failure import LinuxFailure
from hauberk.linux.launch import Launcher
from hauberk.local.failure import LocalFailure
from hauberk.local.remote_agent import RemoteControlPlane, reaching

MESH_VARIABLE = "HAUBERK_MESH"
ROOTLESS_VARIABLE = "HAUBERK_ROOTLESS"

_CANNOT_START = (SettingInvalid, PlaceUnusable, LinuxFailure, LocalFailure, OSError)
_log = logger("agent")


class Agent:
    """All parts of the agent, made and joined."""

    def __init__(
        self,
        places: Places,
        launcher: Launcher,
        node: int,
        *,
        settings: AgentSettings,
        clock: Clock,
        environment: Mapping[str, str],
        elsewhere: RemoteControlPlane | None = None,
    ) -> None:
        api = AsyncUnixHttp(places.api_socket)
        self._places = places
        self._node = node
        self._settings = settings
        self._network = PodNetwork(node)
        self._records = Records(places.records, clock=clock)
        self._clock_watch = ClockWatch(clock)
        self._citadel = CitadelClient(local_channel(places.citadel_socket))
        trust = MachineTrust(places.agent_state / "trust")
        self._elsewhere = elsewhere
        if elsewhere is not None:
            elsewhere.heed(trust.current)
        self._sidecars = Sidecars(
            launcher=launcher,
            client=self._citadel,
            trust=trust,
            places=places,
            settings=settings,
            records=self._records,
            clock=clock,
            on_change=self._sidecar_changed,
        )
        self._clock_watch.subscribe(self._sidecars.clock_was_set)
        self._revocations = self._make_revocations(launcher)
        self._revocations.follow(trust.current)
        self._policy_sweep = self._make_policy_sweep(launcher, api)
        name = platform.node() if elsewhere is None else elsewhere.node
        self._workloads = WorkloadApi(
            places=places,
            launcher=launcher,
            api=api,
            authority=self._citadel,
            trust=trust.current,
            node=name,
            own=elsewhere is None,
            clock=clock,
            changed=self._programs_changed,
        )
        self._clock_watch.subscribe(self._workloads.clock_was_set)
        self._follower = TrustFollower(
            self._citadel, trust, holders=self._held, clock=clock, all_known=lambda: self._pods.settled, on_contact=self._authority_is_back
        )
        self._names = NameServer(launcher, api, places.agent_state, settings)
        world = self._make_world(launcher, api, clock, environment, name)
        self._pods = Pods(world)
        self._sessions = Sessions(self._pods, launcher)
        problem: Callable[[], str] = (lambda: "") if elsewhere is None else (lambda: elsewhere.problem)
        self._parts = server.Parts(
            pods=self._pods, sidecars=self._sidecars, records=self._records, clock=clock, node=world.node, problem=problem
        )

    def _make_revocations(self, launcher: Launcher) -> Revocations:
        return Revocations(
            sidecars=self._sidecars,
            end=ConnectionEnd(launcher),
            path=self._places.agent_state / "revocations.json",
            adopted=lambda: self._pods.settled,
            others=self._bare_pods,
        )

    def _make_policy_sweep(self, launcher: Launcher, api: AsyncUnixHttp) -> PolicySweep:
        return PolicySweep(
            sidecars=self._sidecars,
            live=self._records.live,
            end=ConnectionEnd(launcher),
            api=api,
            path=self._places.agent_state / "connections.json",
        )

    def _make_world(self, launcher: Launcher, api: AsyncUnixHttp, clock: Clock, environment: Mapping[str, str], node: str) -> World:
        return World(
            launcher=launcher,
            api=api,
            places=self._places,
            settings=self._settings,
            clock=clock,
            sidecars=self._sidecars,
            workloads=self._workloads,
            network=self._network,
            addresses=AddressBook(self._places.agent_state / "addresses.json"),
            config_maps=ConfigMapReader(api, self._places.agent_state / "config-maps.json"),
            slots=asyncio.Semaphore(self._settings.parallel_starts),
            node=node,
            rootless=environment.get(ROOTLESS_VARIABLE) == "1",
            inherited=inherited_environment(environment),
        )

    def _bare_pods(self) -> tuple[PodRef, ...]:
        """Those without a sidecar."""
        lives = (life for life in self._pods.all() if not life.ground.meshed)
        return tuple(reference(life.pod, life.ground.addresses, self._parts.node) for life in lives)

    def _held(self) -> tuple[Held, ...]:
        """Every identity on this machine."""
        own = () if self._elsewhere is None else (self._elsewhere.held,)
        return (*self._sidecars.held, *self._not_taken_on(), *self._workloads.holders(), *own)

    def _not_taken_on(self) -> tuple[Held, ...]:
        """Pods whose Envoys were found running, and whose sidecars this agent has not begun yet."""
        lives = (life for life in self._pods.all() if life.envoy_found and self._sidecars.state(life.pod.metadata.uid) is None)
        found = (life.pod.metadata for life in lives)
        subjects = (PodSubject(namespace=each.namespace, name=each.name, uid=each.uid) for each in found)
        return tuple(Held(holder=Holder(subject=each, problem="its agent has just begun"), trust=None, unknown=True) for each in subjects)

    def _authority_is_back(self) -> None:
        self._sidecars.authority_is_back()
        self._workloads.authority_is_back()

    def _programs_changed(self) -> None:
        self._follower.holders_changed()

    def _sidecar_changed(self, uid: str) -> None:
        self._pods.sidecar_changed(uid)
        self._follower.holders_changed()

    async def run(self, told_to_end: asyncio.Event) -> None:
        """Works until told to end; then every pod has been ended in order."""
        await self._network.install_node()
        try:
            async with asyncio.TaskGroup() as tasks:
                working = self._start(tasks)
                await told_to_end.wait()
                _log.info("ending all pods")
                await self._pods.end_all()
                for task in working:
                    task.cancel()
        finally:
            await self._sidecars.close()
            await self._records.close()
            await self._citadel.close()

    def _start(self, tasks: asyncio.TaskGroup) -> tuple[asyncio.Task[None], ...]:
        parts = {
            "clock": self._clock_watch.run(),
            "trust": self._follower.run(),
            "revocations": self._revocations.run(),
            "policy": self._policy_sweep.run(),
            "names": self._names.run(self._node, self._network.nameservers),
            "workload-api": self._workloads.run(),
            "records": self._records.run(),
            "logs": rotate_forever(self._places.logs / "pods", self._settings),
            "sessions": self._sessions.serve(self._places.session_socket),
            "http": server.serve(self._parts, self._places.agent_socket),
            # Last: what it starts may be asked about at once.
            "pods": self._pods.run(),
        }
        return tuple(tasks.create_task(part, name=name) for name, part in parts.items())


async def run(
    places: Places,
    told_to_end: asyncio.Event,
    *,
    settings: AgentSettings | None = None,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Works until told to end; then all pods have been ended, and only their objects and logs are left.

    Cancelled, it leaves the pods running, for the next agent to adopt.
    """
    places.agent_state.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = clock or SystemClock()
    launcher = await Launcher.connect(places.init_socket)
    try:
        node = await launcher.create_network(NODE)
        async with reaching(places, clock) as elsewhere:
            agent = Agent(
                places,
                launcher,
                node,
                settings=settings or read_settings(),
                clock=clock,
                environment=os.environ if environment is None else environment,
                elsewhere=elsewhere,
            )
            await agent.run(told_to_end)
        await launcher.delete_network(NODE)
    finally:
        launcher.close()


async def _run_until_told(places: Places, settings: AgentSettings) -> None:
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    await run(places, told_to_end, settings=settings)


def main(argv: Sequence[str] | None = None) -> int:
    """`hauberk agent`: works until SIGTERM or SIGINT; 0 if it ended in order, 1 if it cannot start."""
    parser = argparse.ArgumentParser(prog="hauberk agent", description="The agent by itself: it needs a running launcher.")
    parser.add_argument("--mesh", default=os.environ.get(MESH_VARIABLE, "default"), help="which mesh on this machine")
    arguments = parser.parse_args(argv)
    configure_logging("agent")
    os.umask(0o077)  # logs, caches and sockets are nobody else's business
    control.forbid_inspection()  # its memory holds private keys: no core file, no debugger of another program of the same user
    try:
        places = Places(arguments.mesh)
        places.create()
        asyncio.run(_run_until_told(places, read_settings()))
    except _CANNOT_START as error:
        hint = getattr(error, "hint", "")
        print(f"error: the agent cannot start: {error}" + (f"\n   do: {hint}" if hint else ""), file=sys.stderr)  # noqa: T201 - for a person
        return 1
    return 0
