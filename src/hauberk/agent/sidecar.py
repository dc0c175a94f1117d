"""The sidecars of this machine: each pod's Envoy, with its identity, its configuration and its socket."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from hauberk.agent.citadel_client import CitadelClient
from hauberk.agent.envoy_admin import AdminUnreachable, EnvoyAdmin
from hauberk.agent.outlived import shown_certificate
from hauberk.agent.records import Records
from hauberk.agent.relay import Relay
from hauberk.agent.relay_cache import RelayCache
from hauberk.agent.relay_service import follow_upstream, keep_cache, serving
from hauberk.agent.revocation_layer import build_revoked_layer
from hauberk.agent.rotation import Identity, spread
from hauberk.agent.settings import AgentSettings
from hauberk.agent.sidecar_envoy import ACCESS_LOG, ADMIN_SOCKET, XDS_SOCKET, build_arguments, build_node
from hauberk.agent.sidecar_files import cache_path, prepare_directory, remove_files
from hauberk.agent.sidecar_identity import SidecarIdentity
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.sidecar_process import EnvoyProcess, proxy_group
from hauberk.agent.sidecar_state import CertificateState, SidecarState
from hauberk.agent.trust import MachineTrust
from hauberk.agent.trust_report import Held
from hauberk.envoy.binary import SETTING, find_envoy
from hauberk.identity.trust import Trust
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import logger
from hauberk.kit.places import Places
from hauberk.kit.watched import Watched
from hauberk.linux.failure import LaunchFailure
from hauberk.linux.launch import Launcher
from hauberk.xds.client import ResourcePool
from hauberk.xds.layers import Layer

__all__ = ["PodRef", "SidecarUnknown", "Sidecars", "cache_path"]

# While Envoy is down the pod has no network, so the first restart is immediate; a crash loop must not eat the machine.
RESTART = Backoff(first=0.5, limit=30.0, immediate=1, reset_after=60.0)
_READY_POLL_SECONDS = 0.02  # between accepting its configuration and serving, Envoy says nothing that could be waited for
_READY_POLL_LIMIT = 0.5
# `skip_exit`: listeners go on accepting, for callers that have not heard yet; answered requests close their connections.
_DRAIN = "/drain_listeners?graceful&inboundonly&skip_exit"

_log = logger("sidecar")


class SidecarUnknown(LookupError):
    """No sidecar of that pod is kept here."""


class Sidecar:
    """One pod's sidecar, kept running until told otherwise."""

    def __init__(
        self,
        pod: PodRef,
        *,
        launcher: Launcher,
        client: CitadelClient,
        trust: MachineTrust,
        places: Places,
        envoy: Path,
        pool: ResourcePool,
        clock: Clock,
    ) -> None:
        self.pod = pod
        self.directory = places.pod_run(pod.uid)
        self.admin = EnvoyAdmin(self.directory / ADMIN_SOCKET)
        self.ready = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self._places = places
        self._envoy = envoy
        self._clock = clock
        self._cache = RelayCache(cache_path(places, pod.uid))
        self._relay = Relay(build_node(pod), held=self._cache.read(), pool=pool, on_change=self._relay_changed)
        self._process = EnvoyProcess(launcher, pod.process)
        self._configured = asyncio.Event()
        self._cacheable = asyncio.Event()
        self._stuck = asyncio.Event()
        self.running = False
        self._restarts = 0
        self._problem = ""
        self.identity = SidecarIdentity(pod, client=client, trust=trust, relay=self._relay, clock=clock, on_change=self._changed)

    async def run(self) -> NoReturn:
        """All parts work together until cancelled; Envoy itself goes on after that."""
        group = proxy_group(self.pod)
        await asyncio.to_thread(prepare_directory, self.directory, group)
        found = await self._process.find()
        self.running = found is not None and found.running
        if not self.running:
            self.identity.envoy_is_gone()
        self.identity.tell()
        async with serving(self._relay, self.directory / XDS_SOCKET, group), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.identity.run(), name="sidecar:identity")
            tasks.create_task(follow_upstream(self._relay, self._places.xds_socket), name="sidecar:upstream")
            tasks.create_task(keep_cache(self._relay, self._cache, self._cacheable), name="sidecar:cache")
            tasks.create_task(self._keep_running(), name="sidecar:envoy")
        raise AssertionError("none of these tasks ever returns")

    def set_revoked(self, revoked: Layer) -> None:
        """Envoy refuses these callers from now on."""
        self._relay.set_revoked(revoked)

    @property
    def connections_rule(self) -> str | None:
        """What Envoy goes by when it takes connections of bytes; None while that is not known."""
        return self._relay.connections_rule if self.running else None

    async def stop(self) -> None:
        """Envoy has ended."""
        await self._process.stop()

    @property
    def state(self) -> SidecarState:
        """How it is now."""
        identity = self.identity.current.value
        return SidecarState(
            ready=self.ready.is_set() and self.identity.usable,
            running=self.running,
            connected=self._relay.connected,
            control_plane=self._relay.upstream_connected,
            certificate=CertificateState.of(identity.svid) if identity is not None else None,
            rejected=self._relay.rejections,
            restarts=self._restarts,
            problem=(self._problem if self.identity.usable else "") or self.identity.problem,
            alarm=self.identity.alarm,
        )

    def _changed(self) -> None:
        self.on_change()

    def _relay_changed(self) -> None:
        self.identity.envoy_acknowledged()
        self._cacheable.set()
        if self._relay.configured:
            self._configured.set()
        else:
            self._configured.clear()
        if self._relay.stuck:
            self._stuck.set()
        self.on_change()

    async def _keep_running(self) -> NoReturn:
        # Started without its certificate, Envoy would hold its listeners back and its callers would be refused all the longer.
        await self._certified()
        failures = 0
        while True:
            began = self._clock.monotonic()
            try:
                status = await self._run_once()
            except (OSError, LaunchFailure) as exc:
                self._problem = f"Envoy does not start: {exc}"
            else:
                self._problem = f"Envoy ended with wait status {status}"
            self._restarts += 1
            failures = RESTART.failures_after(failures, self._clock.monotonic() - began)
            _log.warning("envoy is started again", pod=self.pod.full_name, reason=self._problem, failures=failures)
            self.on_change()
            await asyncio.sleep(RESTART.delay(failures))

    async def _certified(self) -> None:
        """There is a certificate. What an Envoy shows that outlived its agent may end before, and its connections then end with it."""
        ending = asyncio.create_task(self._end_outlived(), name="sidecar:outlived")
        try:
            await self.identity.complete.wait()
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def _end_outlived(self) -> None:
        if not self.running:
            return
        self.identity.rotation.inherit(await shown_certificate(self.admin))
        await self._end_with_certificate()
        self.running = False
        self.identity.envoy_is_gone()

    async def _run_once(self) -> int:
        """Envoy's wait status, after it has run (or was found running) and ended."""
        log = self._places.pod_logs(self.pod.namespace, self.pod.name, self.pod.uid) / "proxy.log"
        argv = build_arguments(self.pod, self._envoy)
        started = await self._process.ensure(self.pod, binary=self._envoy, argv=argv, directory=self.directory, log=log)
        _log.info("envoy started" if started else "envoy adopted", pod=self.pod.full_name)
        self.running = True
        self._stuck.clear()
        watchers = (
            asyncio.create_task(self._become_ready(), name="sidecar:ready"),
            asyncio.create_task(self._end_when_stuck(), name="sidecar:stuck"),
            asyncio.create_task(self._end_with_certificate(), name="sidecar:ended"),
        )
        try:
            return await self._process.ended()
        finally:
            for watcher in watchers:
                watcher.cancel()
            self.running = False
            self.ready.clear()
            self.identity.envoy_is_gone()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _end_when_stuck(self) -> None:
        """An Envoy that cannot listen where all of its pod's traffic is led is ended, since only the next one will try again."""
        await self._stuck.wait()
        _log.warning(
            "envoy cannot listen and is ended", pod=self.pod.full_name, reason="; ".join(r.message for r in self._relay.rejections)
        )
        await self._process.stop()

    async def _end_with_certificate(self) -> None:
        """Fail closed: Envoy checks certificates when a connection begins, so those that are open are ended with their Envoy."""
        await self.identity.ended()
        _log.error("envoy is started again to end its connections", pod=self.pod.full_name, reason=self.identity.problem)
        await self._process.stop()

    async def _become_ready(self) -> None:
        delay = _READY_POLL_SECONDS
        # Envoy's own word is not enough: without a control plane it would say "ready" with nothing configured at all.
        while not (self._configured.is_set() and await self.admin.is_ready()):
            await self._configured.wait()
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, _READY_POLL_LIMIT)
        self._problem = ""
        self.ready.set()
        self.on_change()


class Sidecars:
    """All sidecars of this machine. `on_change` is called with a pod's uid when its sidecar's state may have changed."""

    def __init__(
        self,
        *,
        launcher: Launcher,
        client: CitadelClient,
        trust: MachineTrust,
        places: Places,
        settings: AgentSettings,
        records: Records | None = None,
        clock: Clock | None = None,
        on_change: Callable[[str], None] = lambda _uid: None,
    ) -> None:
        self._launcher = launcher
        self._client = client
        self._trust = trust
        self._places = places
        self._settings = settings
        self._records = records
        self._clock = clock or SystemClock()
        self._on_change = on_change
        self.changes: Watched[str] = Watched()  # whose (uid) may have changed
        self._pool = ResourcePool()
        # Not nobody before anything is known: an Envoy that outlived its agent must not be told to forget who was revoked.
        self._revoked: Layer | None = None
        self._sidecars: dict[str, Sidecar] = {}
        self._tasks: dict[str, asyncio.Task[NoReturn]] = {}
        trust.current.subscribe(self._believe)
        if trust.current.value is not None:
            self._believe(trust.current.value)

    async def start(self, pod: PodRef) -> None:
        """The pod's Envoy runs, or ran already, and serves: it has its certificate and has accepted its configuration.

        Raises EnvoyMissing if there is none to run. Anything else that is missing is waited for; `state` says what.
        """
        sidecar = self._sidecars.get(pod.uid) or self._begin(pod)
        await sidecar.ready.wait()

    async def drain(self, uid: str) -> None:
        """Callers of the pod are asked, connection by connection, to go elsewhere; none is cut off."""
        with suppress(SidecarUnknown, AdminUnreachable):
            await self.admin(uid, "POST", _DRAIN)

    async def stop(self, uid: str) -> None:
        """The pod's Envoy has ended, its last records are kept, and nothing of it remains; also if it was never started here."""
        task = self._tasks.pop(uid, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await EnvoyProcess(self._launcher, f"{uid}/proxy").stop()
        if self._records is not None:
            await self._records.leave(uid)
        self._sidecars.pop(uid, None)
        self._changed(uid)
        await asyncio.to_thread(remove_files, self._places, uid)

    def set_revoked(self, revoked: Layer) -> None:
        """Every sidecar, also those to come, refuses these callers from now on."""
        self._revoked = revoked
        for sidecar in self._sidecars.values():
            sidecar.set_revoked(revoked)

    def state(self, uid: str) -> SidecarState | None:
        """How the pod's sidecar is now; None if it has none."""
        sidecar = self._sidecars.get(uid)
        return sidecar.state if sidecar is not None else None

    def identity(self, uid: str) -> Watched[Identity] | None:
        """The pod's key and certificate, as they change; None if the pod has no sidecar."""
        sidecar = self._sidecars.get(uid)
        return sidecar.identity.current if sidecar is not None else None

    @property
    def held(self) -> tuple[Held, ...]:
        """What each pod's Envoy has proven to hold."""
        return tuple(replace(sidecar.identity.held, running=sidecar.running) for sidecar in self._sidecars.values())

    def serials(self, uid: str) -> frozenset[str]:
        """Of the pod's certificates: the one that its Envoy shows, and the newest, which it is told."""
        if (sidecar := self._sidecars.get(uid)) is None:
            return frozenset()
        newest = sidecar.identity.current.value
        return frozenset({sidecar.identity.held.holder.serial, newest.svid.serial if newest is not None else ""}) - {""}

    @property
    def pods(self) -> tuple[PodRef, ...]:
        """The pods that have a sidecar."""
        return tuple(sidecar.pod for sidecar in self._sidecars.values())

    def connections_rule(self, uid: str) -> str | None:
        """What the pod's Envoy goes by when it takes connections of bytes; None while that is not known."""
        sidecar = self._sidecars.get(uid)
        return sidecar.connections_rule if sidecar is not None else None

    def replace_certificate(self, uid: str) -> None:
        """The pod asks for another certificate at once."""
        if (sidecar := self._sidecars.get(uid)) is not None:
            sidecar.identity.rotation.replace()

    def ask_again(self, uid: str) -> None:
        """If the pod was refused a certificate, it asks again at once."""
        if (sidecar := self._sidecars.get(uid)) is not None:
            sidecar.identity.rotation.hasten(timedelta())

    def authority_is_back(self) -> None:
        """Certificates that could not be had are asked for again soon, and not all at once."""
        failing = [sidecar for sidecar in self._sidecars.values() if sidecar.identity.rotation.failing]
        window = spread(self._trust.current.value, len(failing))
        for sidecar in failing:
            sidecar.identity.rotation.hasten(window)

    def clock_was_set(self) -> None:
        """Every certificate's age is looked at anew."""
        for sidecar in self._sidecars.values():
            sidecar.identity.rotation.wake()

    def _believe(self, trust: Trust) -> None:
        # Before the secrets: who has acknowledged them has then refused whom this trust revokes.
        self.set_revoked(build_revoked_layer(trust.revoked, self._revoked))
        window = spread(trust, len(self._sidecars))
        for sidecar in self._sidecars.values():
            sidecar.identity.believe(trust, window)

    async def admin(self, uid: str, method: str, path: str) -> tuple[int, bytes]:
        """The answer of the pod's Envoy; SidecarUnknown or AdminUnreachable if there is none."""
        sidecar = self._sidecars.get(uid)
        if sidecar is None:
            raise SidecarUnknown(f"pod {uid} has no sidecar here")
        return await sidecar.admin.request(method, path)

    async def close(self) -> None:
        """Nothing is kept running by this agent any more; the Envoys go on, for the next agent to adopt."""
        tasks = tuple(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, pod: PodRef) -> Sidecar:
        envoy = find_envoy({SETTING: self._settings.envoy}) if self._settings.envoy else find_envoy()
        sidecar = Sidecar(
            pod,
            launcher=self._launcher,
            client=self._client,
            trust=self._trust,
            places=self._places,
            envoy=envoy,
            pool=self._pool,
            clock=self._clock,
        )
        sidecar.on_change = lambda: self._changed(pod.uid)
        if self._revoked is not None:
            sidecar.set_revoked(self._revoked)
        self._sidecars[pod.uid] = sidecar
        if self._records is not None:
            self._records.follow(pod, sidecar.directory / ACCESS_LOG)
        self._tasks[pod.uid] = asyncio.create_task(self._keep(sidecar), name=f"sidecar:{pod.full_name}")
        return sidecar

    def _changed(self, uid: str) -> None:
        self.changes.set(uid)
        self._on_change(uid)

    async def _keep(self, sidecar: Sidecar) -> NoReturn:
        failures = 0
        while True:
            try:
                await sidecar.run()
            except Exception:
                # One pod's trouble is not the others': it is told with all its details, and its sidecar begun anew.
                failures += 1
                _log.exception("a sidecar's keeper failed", pod=sidecar.pod.full_name)
            await asyncio.sleep(RESTART.delay(failures + 1))
