"""The certificate for calls, which a cluster takes at its first connection: whatever happens meanwhile, the connection is made."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from tests.e2e.envoy_rig import Rig, RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import STRICT, service
from tests.e2e.envoy_rig_programs import converse, listens_first
from tests.e2e.envoy_rig_server import ConfigurationServer, shown
from tests.e2e.forged import authority, leaf

from hauberk.translate.encode import encode_resource
from hauberk.translate.tls import ROOTS, ROOTS_UPSTREAM
from hauberk.xds.resource import Resource

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

VIP = "10.96.0.1"
PORT = 9000
PORTS = range(1, 13)  # of the service: each is a cluster of its own, all of one program


class Calls:
    """A client, a server, and ports on which the client has not called yet."""

    def __init__(self, made: Rig) -> None:
        self.rig = made
        self.client, self.server = made.pod("client"), made.pod("web")
        self.server.serve(PORT, listens_first)
        made.apply(STRICT, service("web", [VIP], {port: (f"tcp-{port}", PORT) for port in PORTS}))
        self._unused = iter(PORTS)

    def unused(self) -> int:
        return next(self._unused)

    def call(self, port: int) -> bool:
        return converse(self.client.connect(VIP, port)) == b"heard hello"

    def last_caller(self) -> str:
        """Who called last, as the server's sidecar saw it; empty as long as it has written of nobody."""
        callers = [str(record["pi"]) for record in self.server.records() if record["k"] == "t"]
        return callers[-1] if callers else ""

    def tell(self, pod: RigPod, resources: Iterable[Resource]) -> None:
        """From now on its agent serves these secrets, and its Envoy has them."""
        changed = {each.name: each for each in resources}
        pod.certificates = tuple(changed.get(each.name, each) for each in pod.certificates)
        self.rig.push()


@pytest.fixture
def calls() -> Iterator[Calls]:
    with rig() as made:
        yield Calls(made)


def test_the_first_connection_of_a_cluster_needs_no_agent(calls: Calls) -> None:
    assert calls.client.server is not None
    calls.client.server.close()
    assert all(calls.call(calls.unused()) for _ in range(3))


def test_a_renewed_certificate_is_shown_by_clusters_that_were_used_and_by_those_that_were_not(calls: Calls) -> None:
    used = calls.unused()
    assert calls.call(used)
    calls.tell(calls.client, shown(*calls.rig.authority.issue("renewed")))
    for port in (used, calls.unused()):
        assert calls.call(port)
        eventually(lambda: calls.last_caller().endswith("/sa/renewed"))


def test_renewals_while_connections_are_made_cost_none_of_them(calls: Calls) -> None:
    ports = [calls.unused() for _ in range(4)]
    done, outcomes = threading.Event(), list[bool]()

    def work(port: int) -> None:
        while not done.is_set():
            outcomes.append(calls.call(port))

    workers = [threading.Thread(target=work, args=(port,)) for port in ports]
    for worker in workers:
        worker.start()
    for _ in range(12):
        before = len(outcomes)
        for pod in (calls.client, calls.server):
            calls.tell(pod, shown(*calls.rig.authority.issue(pod.account)))
        eventually(lambda before=before: len(outcomes) > before + 8)  # type: ignore[misc]  # a default binds the loop's variable
    done.set()
    for worker in workers:
        worker.join()
    assert len(outcomes) > 100
    assert all(outcomes)


def test_a_restarted_agent_is_asked_again_and_its_renewals_arrive(calls: Calls) -> None:
    used = calls.unused()
    assert calls.call(used)
    client = calls.client
    assert client.server is not None
    client.server.close()
    assert calls.call(used)
    client.certificates = tuple({each.name: each for each in (*client.certificates, *shown(*calls.rig.authority.issue("later")))}.values())
    client.server = ConfigurationServer(client.directory / "xds.sock")
    calls.rig.push()
    for port in (used, calls.unused()):
        eventually(lambda port=port: calls.call(port) and calls.last_caller().endswith("/sa/later"))  # type: ignore[misc]


def test_a_restarted_envoy_calls_with_the_certificate_at_once(calls: Calls) -> None:
    assert calls.call(calls.unused())
    assert calls.client.envoy is not None
    calls.client.envoy.kill()
    calls.client.envoy.wait()
    calls.client.envoy = None
    calls.rig.push()
    assert calls.call(calls.unused())


def believed(*roots: bytes) -> tuple[Resource, ...]:
    made = [Secret(name=name) for name in (ROOTS, ROOTS_UPSTREAM)]
    for each in made:
        each.validation_context.trusted_ca.inline_bytes = b"".join(roots)
    return tuple(encode_resource(each, each.name) for each in made)


def test_another_root_takes_over_without_a_refused_connection(calls: Calls) -> None:
    old, new = calls.rig.authority, authority("the next root")

    def certified(account: str) -> tuple[Resource, ...]:
        made = leaf(new, f"spiffe://cluster.local/ns/shop/sa/{account}")
        return shown(made.chain_pem, made.key_pem)

    used = calls.unused()
    assert calls.call(used)
    pods = (calls.client, calls.server)
    names = [pod.name for pod in pods]
    for told in (
        dict.fromkeys(names, believed(old.root, new.chain_pem)),
        {pod.name: certified(pod.account) for pod in pods},
        dict.fromkeys(names, believed(new.chain_pem)),
    ):
        for pod in pods:
            # Between the two the steps differ, and each still believes the other.
            calls.tell(pod, told[pod.name])
            assert calls.call(used)
            assert calls.call(calls.unused())
    calls.tell(calls.client, shown(*old.issue("client")))
    assert not calls.call(used)
