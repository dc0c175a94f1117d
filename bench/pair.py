"""Proxies configured by hand, beside programs in pods that have no sidecar."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import hand_made
from bench.program import found
from hauberk.agent.sidecar_process import CAPABILITIES, proxy_uid
from hauberk.envoy.binary import find_envoy
from hauberk.kit.places import Places
from hauberk.linux.launch import Launcher
from hauberk.linux.process import ProcessSpec

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("envoy", "envoy+records", "haproxy")


class Pair:
    """Two proxies of one kind, started by the mesh's launcher in the networks of two pods; they end with the mesh."""

    def __init__(self, kind: str, directory: Path, credentials: dict[str, hand_made.Credentials]) -> None:
        self.kind = kind
        self.names = tuple(f"bench/{kind}/{side}" for side in ("client", "server"))
        self._directory = directory
        self._credentials = credentials

    async def start(self, places: Places, networks: Sequence[str], server: str) -> None:
        """Both run, and their pods' connections pass them. `networks`: the client's and the server's; `server`: its address."""
        launcher = await Launcher.connect(places.init_socket)
        try:
            for name, network, text in zip(self.names, networks, self._configurations(server), strict=True):
                await self._capture(launcher, f"{name}/capture", network)
                await self._spawn(launcher, name, network, text)
        finally:
            launcher.close()

    def _configurations(self, server: str) -> tuple[str, str]:
        client_side, server_side = self._credentials["client"], self._credentials["server"]
        if self.kind == "haproxy":
            return hand_made.haproxy_client(client_side, server), hand_made.haproxy_server(server_side)
        logs = [self._log(side) if "records" in self.kind else None for side in ("client", "server")]
        return hand_made.envoy_client(client_side, server, records=logs[0]), hand_made.envoy_server(server_side, records=logs[1])

    def _log(self, side: str) -> Path:
        path = self._directory / f"{side}.log"
        path.touch()
        path.chmod(0o666)  # Envoy's user is another than ours
        return path

    async def _capture(self, launcher: Launcher, name: str, network: str) -> None:
        excluded = [str(hand_made.HAPROXY_PORT)] if self.kind == "haproxy" else []
        spec = ProcessSpec(
            argv=(sys.executable, "-m", "bench.capture", *excluded), cwd=str(ROOT), network=network, capabilities=CAPABILITIES
        )
        with (self._directory / "capture.log").open("ab") as log:
            status = await launcher.run(name, spec, (0, log.fileno(), log.fileno()))
        if status:
            raise RuntimeError(f"interception could not be installed: {(self._directory / 'capture.log').read_text()}")

    async def _spawn(self, launcher: Launcher, name: str, network: str, text: str) -> None:
        binary = Path(found("haproxy")) if self.kind == "haproxy" else find_envoy()
        path = self._directory / f"{self.kind}-{name.rsplit('/', 1)[1]}.conf"
        path.write_text(text)
        argv = (
            ("haproxy", "-db", "-f", str(path))
            if self.kind == "haproxy"
            else ("envoy", "--config-yaml", text, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
        )
        executable = os.open(binary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with (self._directory / f"{self.kind}.log").open("ab") as log:
                spec = ProcessSpec(
                    argv=argv,
                    cwd="/",
                    network=network,
                    uid=proxy_uid(),
                    gid=proxy_uid(),
                    capabilities=CAPABILITIES,
                    executable=executable,
                    rlimits=(("NOFILE", 8192, 8192),),
                )
                await launcher.spawn(name, spec, (0, log.fileno(), log.fileno()))
        finally:
            os.close(executable)

    async def processes(self, places: Places) -> tuple[int, ...]:
        """Their numbers, as the launcher counts."""
        launcher = await Launcher.connect(places.init_socket)
        try:
            return tuple(each.pid for each in await launcher.processes() if each.name in self.names and each.running)
        finally:
            launcher.close()
