"""Pods with real Envoys and nothing else of the mesh: network namespaces on a bridge, certificates, and a small configuration server.

Programs are threads of this process whose sockets were made inside a pod's namespace. Needs root.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it ships no types
from tests.e2e.envoy_rig_server import NAMESPACE, Authority, ConfigurationServer, secrets

from hauberk.api.condition import Condition
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodIP, PodStatus
from hauberk.envoy.binary import find_envoy
from hauberk.interception.capture import Capture
from hauberk.interception.install import install
from hauberk.interception.ruleset import build_ruleset
from hauberk.linux.namespaces import NEWNET, open_own, unshare
from hauberk.linux.netns import in_network
from hauberk.mesh.settings import MeshSettings
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.telemetry.layout import read_fields
from hauberk.translate.bootstrap import BootstrapInputs, build_bootstrap, envoy_command
from hauberk.translate.proxy import translate_own, translate_shared
from hauberk.xds.resource import Resource

T = TypeVar("T")

_UPGRADE = b'"k":"u"'
NODAD = 0x02
SECONDS = 20.0


def eventually(claim: Callable[[], T], seconds: float = SECONDS) -> T:
    """The first true value of `claim`; what it last said otherwise."""
    end = time.monotonic() + seconds
    while True:
        value = claim()
        if value or time.monotonic() > end:
            assert value, f"still {value!r} after {seconds} s"
            return value
        time.sleep(0.02)


@dataclass
class RigPod:
    """A pod: a namespace, addresses, perhaps a sidecar."""

    name: str
    namespace: str
    account: str
    labels: dict[str, str]
    addresses: tuple[str, str]
    network: int
    directory: Path
    meshed: bool = True
    ready: bool = True
    ports: tuple[tuple[str, int], ...] = ()
    server: ConfigurationServer | None = None
    envoy: subprocess.Popen[bytes] | None = None
    certificates: tuple[Resource, ...] = ()
    programs: list[Callable[[], None]] = field(default_factory=list)

    @property
    def key(self) -> ObjectKey:
        return ObjectKey("Pod", self.namespace, self.name)

    def to_object(self) -> Pod:
        ports = [{"name": name, "containerPort": number} for name, number in self.ports]
        annotations = {} if self.meshed else {"sidecar.istio.io/inject": "false"}
        return Pod.model_validate(
            {
                "metadata": Metadata(name=self.name, namespace=self.namespace, labels=self.labels, annotations=annotations),
                "spec": {"containers": [{"name": "c", "command": ["x"], "ports": ports}], "serviceAccountName": self.account},
                "status": PodStatus(
                    phase="Running",
                    pod_ip=self.addresses[0],
                    pod_ips=tuple(PodIP(ip=address) for address in self.addresses),
                    conditions=(Condition(type="Ready", status="True" if self.ready else "False"),),
                ),
            }
        )

    def inside(self, work: Callable[[], T]) -> T:
        """What `work` returns in the pod's network."""
        return in_network(self.network, work)

    def connect(self, address: str, port: int, timeout: float = 5) -> socket.socket:
        return self.inside(lambda: socket.create_connection((address, port), timeout=timeout))

    def listen(self, address: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return self.inside(lambda: socket.create_server((address, port), family=family, backlog=128))

    def serve(self, port: int, handle: Callable[[socket.socket], None], address: str = "0.0.0.0") -> None:
        """Each connection to `port` is handled by a thread of its own."""
        listener = self.listen(address, port)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=_handled, args=(handle, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        # A listener that a thread is blocked on lives until it is shut down.
        self.programs.append(lambda: listener.shutdown(socket.SHUT_RDWR))

    def request(
        self,
        url_host: str,
        port: int,
        path: str = "/",
        *,
        method: str = "GET",
        host: str | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The answer to one HTTP/1.1 request of the pod's program to an address."""
        connection = http.client.HTTPConnection(url_host, port)
        connection.sock = self.connect(url_host, port)
        connection.sock.settimeout(10)
        try:
            connection.request(method, path, body=body, headers={"Host": host or url_host, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def admin(self, path: str, method: str = "GET") -> bytes:
        connection = http.client.HTTPConnection("admin")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.directory / "admin.sock"))
        connection.request(method, path)
        try:
            return connection.getresponse().read()
        finally:
            connection.close()

    def records(self) -> list[dict[str, Any]]:
        found = [read_fields(line) for line in self._lines() if _UPGRADE not in line]
        # Lines of the beginnings of connections are no records.
        return [fields for fields in found if fields.get("e") != "TcpUpstreamConnected"]

    def upgrades(self) -> list[dict[str, Any]]:
        """What is written of requests for another protocol: when it has been agreed to, and when it is over."""
        return [json.loads(line) for line in self._lines() if _UPGRADE in line]

    def _lines(self) -> list[bytes]:
        log = self.directory / "access.log"
        # What Envoy is still writing is no line yet.
        return log.read_bytes().split(b"\n")[:-1] if log.exists() else []

    def record(self, **wanted: Any) -> dict[str, Any]:
        """The first record with these values; waits for it."""
        return eventually(lambda: next((r for r in self.records() if all(r.get(k) == v for k, v in wanted.items())), None) or {})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def echo(self) -> dict[str, Any]:
        """What the echo program saw."""
        value: dict[str, Any] = json.loads(self.body)
        return value


def _handled(handle: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection, suppress(OSError, ValueError):
        handle(connection)


class Rig:
    """A bridge with pods."""

    def __init__(self, settings: MeshSettings | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hauberk-rig-", dir="/dev/shm"))
        self.authority = Authority()
        self.pods: dict[str, RigPod] = {}
        self.objects: dict[ObjectKey, ApiObject] = {}
        self.snapshot: MeshSnapshot | None = None
        self._settings = settings or MeshSettings()
        self._node = _new_network()
        self._number = itertools.count(2)
        in_network(self._node, _make_bridge)

    def pod(
        self,
        name: str,
        *,
        account: str | None = None,
        namespace: str = NAMESPACE,
        labels: dict[str, str] | None = None,
        meshed: bool = True,
        ports: tuple[tuple[str, int], ...] = (),
        envoy: bool = True,
    ) -> RigPod:
        """A pod called `name`, with a sidecar if it is `meshed`."""
        number = next(self._number)
        addresses = (f"10.244.0.{number}", f"fd00:10:244::{number:x}")
        network = _new_network()
        directory = self.directory / name
        directory.mkdir()
        made = RigPod(name, namespace, account or name, labels or {"app": name}, addresses, network, directory, meshed, ports=ports)
        self.pods[name] = made
        in_network(self._node, lambda: _plug(f"p{number}", network))
        made.inside(lambda: _configure(addresses))
        made.certificates = secrets(self.authority, made.account, namespace)
        if meshed and envoy:
            made.inside(lambda: install(build_ruleset(Capture())))
            made.server = ConfigurationServer(directory / "xds.sock")
        return made

    def apply(self, *objects: ApiObject) -> None:
        """Objects exist, and every sidecar has been told and has agreed."""
        for each in objects:
            self.objects[each.key] = each
        self.push()

    def delete(self, *objects: ApiObject) -> None:
        for each in objects:
            del self.objects[each.key]
        self.push()

    def push(self) -> None:
        pods = [pod.to_object() for pod in self.pods.values()]
        self.snapshot = build_snapshot([*self.objects.values(), *pods], self.snapshot, self._settings)
        meshed = [pod for pod in self.pods.values() if pod.server is not None]
        for pod in meshed:
            assert pod.server is not None
            own = translate_own(self.snapshot, pod.key)
            pod.server.put((*translate_shared(self.snapshot, pod.namespace), *own, *pod.certificates))
        for pod in meshed:
            if pod.envoy is None:
                pod.envoy = _start_envoy(pod)
        for pod in meshed:
            eventually(lambda pod=pod: _is_ready(pod))  # type: ignore[misc]  # a default binds the loop's variable
            assert pod.server is not None
            assert not pod.server.rejections, pod.server.rejections

    def close(self) -> None:
        for pod in self.pods.values():
            for stop in pod.programs:
                with suppress(OSError):
                    stop()
            if pod.envoy is not None:
                pod.envoy.kill()
                pod.envoy.wait()
            if pod.server is not None:
                pod.server.close()
            os.close(pod.network)
        os.close(self._node)
        shutil.rmtree(self.directory)


@contextmanager
def rig(settings: MeshSettings | None = None) -> Iterator[Rig]:
    made = Rig(settings)
    try:
        yield made
    finally:
        made.close()


def _start_envoy(pod: RigPod) -> subprocess.Popen[bytes]:
    bootstrap = build_bootstrap(
        BootstrapInputs(
            namespace=pod.namespace,
            name=pod.name,
            address=pod.addresses[0],
            xds_socket=pod.directory / "xds.sock",
            admin_socket=pod.directory / "admin.sock",
        )
    )
    command = envoy_command(find_envoy(), bootstrap, log_level=os.environ.get("RIG_LOG", "warning"))
    with (pod.directory / "envoy.log").open("wb") as log:
        # Threads inherit the namespace of the thread that starts them, and so do processes.
        return pod.inside(lambda: subprocess.Popen(command, cwd=pod.directory, stdin=subprocess.DEVNULL, stderr=log))


def _is_ready(pod: RigPod) -> bool:
    assert pod.server is not None
    assert pod.envoy is not None
    if pod.envoy.poll() is not None:
        raise AssertionError(f"{pod.name}: " + (pod.directory / "envoy.log").read_text()[-3000:])
    if not pod.server.settled():
        return False
    with suppress(OSError):
        return pod.admin("/ready").startswith(b"LIVE")
    return False


def _new_network() -> int:
    """A descriptor of a new network namespace."""
    made: list[int] = []

    def make() -> None:
        unshare(NEWNET)
        made.append(open_own("net"))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _make_bridge() -> None:
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname="br0", kind="bridge")
        (bridge,) = route.link_lookup(ifname="br0")
        route.addr("add", index=bridge, address="10.244.0.1", prefixlen=16)
        route.addr("add", index=bridge, address="fd00:10:244::1", prefixlen=64, flags=NODAD)
        route.link("set", index=bridge, state="up")


def _plug(name: str, network: int) -> None:
    with IPRoute() as route:
        route.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_fd": network})
        (bridge,) = route.link_lookup(ifname="br0")
        (port,) = route.link_lookup(ifname=name)
        route.link("set", index=port, master=bridge, state="up")


def _configure(addresses: tuple[str, str]) -> None:
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        (eth0,) = route.link_lookup(ifname="eth0")
        route.addr("add", index=eth0, address=addresses[0], prefixlen=16)
        route.addr("add", index=eth0, address=addresses[1], prefixlen=64, flags=NODAD)
        route.link("set", index=eth0, state="up")
        route.route("add", dst="0.0.0.0/0", gateway="10.244.0.1")
        route.route("add", family=socket.AF_INET6, dst="::/0", gateway="fd00:10:244::1")
