"""The pods and objects that the tests of the data plane share."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.envoy_rig import Rig, RigPod
from tests.e2e.envoy_rig_programs import converse, http1, http2, listens_first, speaks_first
from tests.e2e.envoy_rig_server import NAMESPACE

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.metadata import ApiObject
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.service import Service

VIP, VIP6 = "10.96.0.1", "fd00:10:96::1"
CLIENT, WEB = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/client", f"spiffe://cluster.local/ns/{NAMESPACE}/sa/web"
# service port: (name, port of the program, where the program listens, what it speaks)
PORTS = {
    80: ("http", 8080, "0.0.0.0", http1),
    81: ("http-v6", 8081, "::", http1),
    82: ("http2", 8082, "127.0.0.1", http2),
    83: ("grpc", 8083, "::1", http2),
    84: ("tcp", 8084, "0.0.0.0", speaks_first),
    85: ("any-http", 8085, "0.0.0.0", http1),
    86: ("any-tcp", 8086, "127.0.0.1", listens_first),
    87: ("any-first", 8087, "0.0.0.0", speaks_first),
    88: ("any-http2", 8088, "0.0.0.0", http2),
}


def service(name: str, cluster_ips: list[str], ports: dict[int, tuple[str, int]], app: str | None = None) -> Service:
    return Service.model_validate(
        {
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "clusterIP": cluster_ips[0],
                "clusterIPs": cluster_ips,
                "selector": {"app": app or name},
                "ports": [{"name": port_name, "port": port, "targetPort": target} for port, (port_name, target) in ports.items()],
            },
        }
    )


def mode(name: str, namespace: str = "istio-system", **spec: Any) -> PeerAuthentication:
    return PeerAuthentication.model_validate({"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def policy(name: str, action: str, *rules: dict[str, Any]) -> AuthorizationPolicy:
    return AuthorizationPolicy.model_validate(
        {
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "action": action, "rules": list(rules)},
        }
    )


def caller(*accounts: str) -> dict[str, Any]:
    return {"from": [{"source": {"serviceAccounts": list(accounts)}}]}


STRICT = mode("default", mtls={"mode": "STRICT"})


class Mesh:
    """The pods that all tests share; every test leaves the objects as it found them."""

    def __init__(self, made: Rig) -> None:
        self.rig = made
        self.client = made.pod("client")
        self.other = made.pod("other")
        self.web = made.pod("web")
        self.outside = made.pod("outside", meshed=False)
        self.connections: list[int] = []
        for _, port, address, program in PORTS.values():
            self.web.serve(port, self._counted(port, program), address)
        self.outside.serve(80, http1)
        self.outside.serve(9000, speaks_first)
        made.apply(STRICT, service("web", [VIP, VIP6], {port: (name, target) for port, (name, target, *_) in PORTS.items()}))

    def _counted(self, port: int, program: Any) -> Any:
        def handle(connection: socket.socket) -> None:
            self.connections.append(port)
            program(connection)

        return handle

    @contextmanager
    def having(self, *objects: ApiObject) -> Iterator[None]:
        before = dict(self.rig.objects)
        self.rig.apply(*objects)
        try:
            yield
        finally:
            self.rig.objects = before
            self.rig.push()


def denied_by(record: dict[str, Any]) -> str:
    found = re.search(r"rbac_access_denied_matched_policy\[(.*)\]$", str(record["x"]))
    return found[1] if found else ""


def plain_outcome(pod: RigPod, address: str, port: int) -> str:
    # A sniffed port takes HTTP for HTTP, which the programs behind these do not speak.
    say = b"no words of HTTP" if port in (8086, 8087) else b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    try:
        answer = converse(pod.connect(address, port), say)
    except OSError as exc:
        return type(exc).__name__
    return "served" if b"200 OK" in answer or answer.startswith((b"welcome", b"heard")) else "closed"
