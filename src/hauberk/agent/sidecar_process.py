"""The Envoy process of one pod, which the launcher starts and which outlives this agent."""

import asyncio
import ipaddress
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hauberk.agent.sidecar_pod import PodRef
from hauberk.linux.failure import NameTaken, UnknownProcess
from hauberk.linux.launch import Launcher
from hauberk.linux.process import Process, ProcessSpec

PROXY_UID = 1337  # Istio's; programs never run as it, so nobody else may open what belongs to it
# Groups from here on are no system's and no container manager's. A pod's is told by its address, which is no other pod's meanwhile.
_FIRST_GROUP, _GROUPS = 0x7000_0000, 1 << 26
# Marking its sockets so that they are not captured, and reading the original destination, need this and nothing more.
CAPABILITIES = ("NET_ADMIN",)
STOP_SECONDS = 5.0  # Envoy asked to end closes at once; one that hangs is killed


def proxy_uid(uid_map: Path = Path("/proc/self/uid_map")) -> int | None:
    """The user that Envoy runs as; None in a user namespace that knows no such user, where it is the mesh's own."""
    return PROXY_UID if _is_mapped(PROXY_UID, uid_map) else None


def proxy_group(pod: PodRef, gid_map: Path = Path("/proc/self/gid_map")) -> int | None:
    """The group of that pod's Envoy alone; that of all of them in a user namespace with few groups, None in one with a single user.

    The kernel lets a process look into another of its user (its memory, its directory, its descriptors) only if their groups are the
    same too. So an Envoy that was taken over finds neither the keys nor the sockets of the others.
    """
    own = _FIRST_GROUP + int(ipaddress.ip_address(pod.addresses[0])) % _GROUPS if pod.addresses else PROXY_UID
    return next((group for group in (own, PROXY_UID) if _is_mapped(group, gid_map)), None)


def _is_mapped(number: int, id_map: Path) -> bool:
    ranges = (line.split() for line in id_map.read_text().splitlines())
    return any(int(first) <= number < int(first) + int(count) for first, _, count in ranges)


class EnvoyProcess:
    """Envoy of one pod: adopted if it runs, started if not."""

    def __init__(self, launcher: Launcher, name: str) -> None:
        self._launcher = launcher
        self._name = name

    async def find(self) -> Process | None:
        """The process, running or ended, if there is one."""
        return next((process for process in await self._launcher.processes() if process.name == self._name), None)

    async def ensure(self, pod: PodRef, *, binary: Path, argv: tuple[str, ...], directory: Path, log: Path) -> bool:
        """Envoy runs; whether it had to be started."""
        found = await self.find()
        if found is not None and found.running:
            return False
        await self._launcher.forget(self._name)
        with _opened(binary, log) as (executable, null, output):
            spec = ProcessSpec(
                argv=argv,
                cwd=str(directory),
                network=pod.network,
                uid=proxy_uid(),
                gid=proxy_group(pod),
                capabilities=CAPABILITIES,
                executable=executable,
                umask=0o077,
                rlimits=_limits(),
            )
            with suppress(NameTaken):  # started meanwhile by whom we are about to replace
                await self._launcher.spawn(self._name, spec, (null, output, output))
        return True

    async def ended(self) -> int:
        """Its wait status, once it has ended."""
        try:
            return await self._launcher.wait(self._name)
        except UnknownProcess:
            return -1

    async def stop(self) -> None:
        """It no longer runs and is forgotten."""
        with suppress(UnknownProcess):
            await self._launcher.signal(self._name, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._launcher.wait(self._name), STOP_SECONDS)
            except TimeoutError:
                await self._launcher.signal(self._name, signal.SIGKILL)
                await self._launcher.wait(self._name)
        await self._launcher.forget(self._name)


def _limits() -> tuple[tuple[str, int, int], ...]:
    # Two descriptors for each connection: as many as this machine allows. A core file would hold the private key.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (("NOFILE", most, most), ("CORE", 0, 0))


@contextmanager
def _opened(binary: Path, log: Path) -> Iterator[tuple[int, int, int]]:
    descriptors: list[int] = []
    try:
        # By descriptor, so that the directory of the binary need not be open to the proxy's user.
        descriptors.append(os.open(binary, os.O_RDONLY | os.O_CLOEXEC))
        descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptors.append(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
        yield descriptors[0], descriptors[1], descriptors[2]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
