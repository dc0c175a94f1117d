"""A second machine for tests: a network namespace (for root), a state and a run directory of its own, and an agent that joins."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetNS  # type: ignore[import-untyped]  # it ships no types

from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.testing.mesh import Mesh

# Of the block for benchmarks (RFC 2544), which is nobody's: a net for each process, because several may test at the same time.
_BLOCK, _PREFIX = ip_network("198.18.0.0/15"), 30
_NET = int(_BLOCK.network_address) + 4 * (os.getpid() % (_BLOCK.num_addresses // 4))
_HERE, _THERE = str(ip_address(_NET + 1)), str(ip_address(_NET + 2))


class Network:
    """Where machines other than this one are, and how they reach it."""

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace
        self.address = _HERE if namespace else "127.0.0.1"

    @property
    def prefix(self) -> list[str]:
        """What a command there begins with."""
        return ["nsenter", f"--net=/run/netns/{self._namespace}"] if self._namespace else []

    def free_port(self) -> int:
        """A port that nobody has now."""
        with socket.socket() as probe:
            probe.bind((self.address, 0))
            return int(probe.getsockname()[1])


@contextmanager
def elsewhere() -> Iterator[Network]:
    """A network namespace with a cable to this one's; without root, other machines share this one's loopback."""
    if os.geteuid() != 0:
        yield Network(None)
        return
    name, cable = f"hb{os.getpid()}", f"hb{os.getpid()}"[:13]
    with NetNS(name) as there, IPRoute() as here:
        try:
            here.link("add", ifname=f"{cable}a", kind="veth", peer={"ifname": "eth0", "net_ns_fd": name})
            for route, link, address in ((here, f"{cable}a", _HERE), (there, "eth0", _THERE)):
                (index,) = route.link_lookup(ifname=link)
                route.addr("add", index=index, address=address, prefixlen=_PREFIX)
                route.link("set", index=index, state="up")
            there.link("set", index=1, state="up")
            yield Network(name)
        finally:
            for index in here.link_lookup(ifname=f"{cable}a"):
                here.link("del", index=index)
            there.close()
            there.remove()


class Machine:
    """A machine that may join; nothing of it is left when it is closed."""

    def __init__(self, network: Network, *, rootless: bool) -> None:
        # Short, because the paths of sockets are; closed to others but for the way to the Envoys' own directories.
        self.home = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
        self.home.chmod(0o711)
        self._network = network
        self._rootless = ["--rootless"] if rootless else []
        self._environment = {STATE_VARIABLE: str(self.home / "s"), RUN_VARIABLE: str(self.home / "r")}

    @property
    def places(self) -> Places:
        """Its directories."""
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        try:
            return Places()
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value

    @property
    def mesh(self) -> Mesh:
        """What answers on its sockets."""
        return Mesh(self.places)

    def hauberk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, run there."""
        command = [*self._network.prefix, sys.executable, "-m", "hauberk", *arguments]
        # Mounts, and so /run/netns, are this machine's; only the network is another.
        environment = os.environ | self._environment
        return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=90, check=False)

    def join(self, file: Path) -> subprocess.CompletedProcess[str]:
        """It tries to join and to run its agent."""
        return self.hauberk("agent", "--join", str(file), "--detach", "--wait", *self._rootless)

    def up(self) -> subprocess.CompletedProcess[str]:
        """Its agent is started again."""
        return self.hauberk("up", "--detach", "--wait", *self._rootless)

    def status(self) -> dict[str, Any]:
        """What `hauberk status` says there of its agent; LookupError while nothing answers."""
        told = self.hauberk("status", "-o", "json").stdout
        if not told:
            raise LookupError("nothing answers on the machine")
        found: dict[str, Any] = json.loads(told)["agents"][0]
        return found

    def membership(self) -> dict[str, Any]:
        """What it keeps. Who controls the machine has this."""
        found: dict[str, Any] = json.loads(self.places.membership.read_text())
        return found

    def close(self) -> None:
        """Its mesh has ended and is forgotten."""
        self.hauberk("down", "--purge")
        shutil.rmtree(self.home, ignore_errors=True)
