"""Machines join a mesh by a token, run its pods, prove themselves by a certificate afterwards, and are put out of it.

What an attacker may try is tried from where he would be: on the second machine, with all that its agent has.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from tests.e2e import objects, processes
from tests.e2e.callers import ask
from tests.e2e.machines import Machine, Network, elsewhere
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.agent.citadel_client import CertificateRefused, CitadelClient, local_channel
from hauberk.citadel.nodes import control_plane_id
from hauberk.identity.csr import build_csr_der
from hauberk.identity.svid import X509Svid
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust_bundle import to_pem
from hauberk.identity.wire import AgentSubject, PodSubject, Subject
from hauberk.kit.tls import Credentials, client_context, server_context
from hauberk.kit.tls_forwarder import dial_tls
from hauberk.kit.unix_http import AsyncUnixHttp
from hauberk.local import joining
from hauberk.local.failure import LocalFailure
from hauberk.local.joining_file import JoinFile
from hauberk.local.remote_doors import API, CITADEL, PROTOCOLS
from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace
from hauberk.xds.stream import dial

PATCH = {"content-type": "application/merge-patch+json"}
LISTEN = "HAUBERK_LISTEN"


class Site:
    """A control plane that listens, and where other machines are."""

    def __init__(self, mesh: Mesh, network: Network, port: int, tmp: Path, *, rootless: bool) -> None:
        self.mesh = mesh
        self.network = network
        self.address = network.address, port
        self.rootless = rootless
        self._tmp = tmp
        self._files = 0

    def hauberk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command on the control plane's machine."""
        command = [sys.executable, "-m", "hauberk", "--mesh", self.mesh.places.mesh, *arguments]
        return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)

    def join_file(self, node: str, *, ttl: float = 600) -> Path:
        """A new join file for `node`."""
        return self._written(self.mesh.api("POST", "/v1/ca/tokens", {"node": node, "ttl": ttl}))

    def changed(self, path: Path, **fields: Any) -> Path:
        """A copy of the join file in which something else stands."""
        return self._written(json.loads(path.read_text()) | fields)

    def _written(self, document: dict[str, Any]) -> Path:
        self._files += 1
        path = self._tmp / f"{self._files}.join"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return path

    def machine(self) -> Machine:
        return Machine(self.network, rootless=self.rootless)

    def node(self, name: str) -> dict[str, Any]:
        """What the control plane says of the machine."""
        return next(each for each in self.mesh.api("GET", "/v1/ca/nodes")["nodes"] if each["name"] == name)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with elsewhere() as found:
        yield found


@pytest.fixture(scope="module")
def site(network: Network, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Site]:
    rootless = bool(request.config.getoption("--mesh-rootless"))
    port = network.free_port()
    settings = {LISTEN: f"{network.address}:{port}"}
    with running_mesh("machines", rootless=rootless or None, settings=settings) as mesh:
        yield Site(mesh, network, port, tmp_path_factory.mktemp("join"), rootless=rootless)


@pytest.fixture(scope="module")
def second(site: Site) -> Iterator[Machine]:
    """A machine that has joined as n2, and runs its agent."""
    machine = site.machine()
    try:
        joined = machine.join(site.join_file("n2"))
        assert joined.returncode == 0, joined.stderr
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="module")
def placed(site: Site, second: Machine) -> MeshNamespace:
    """A server and a caller on n2, and a pod on the control plane's own machine."""
    mesh = site.mesh.namespace("placed")
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("client", "web", "home")),
        objects.pod("web", server_command("http@[::]:8080"), account="web", nodeName="n2"),
        objects.service("web", objects.port(80, "http", 8080)),
        objects.idle("client", account="client", nodeSelector={"kubernetes.io/hostname": "n2"}),
        objects.idle("home", account="home"),
    )
    mesh.ready("web", "client", "home")
    assert second.places.api_socket.exists()
    return mesh


def on(machine: Machine, namespace: str) -> MeshNamespace:
    """The namespace as it is reached from the machine: commands run in pods that are there."""
    return MeshNamespace(machine.mesh, namespace)


def uid(mesh: MeshNamespace, name: str) -> str:
    return str(mesh.get("pods", name)["metadata"]["uid"])


async def issue(machine: Machine, subject: Subject) -> Credentials:
    """A certificate that the agent of the machine could get, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    client = CitadelClient(local_channel(machine.places.citadel_socket))
    try:
        reply = await client.issue(subject, build_csr_der(key))
    finally:
        await client.close()
    chain = "".join(ssl.DER_cert_to_PEM_cert(der) for der in reply.chain_der)
    return Credentials(chain_pem=chain, key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


# --- a machine takes part


def test_a_second_machine_runs_pods_that_are_served_with_their_own_identities(site: Site, second: Machine, placed: MeshNamespace) -> None:
    there = on(second, "placed")
    assert ask(there, "client", "http", "web", 80)["status"] == 200
    records = there.records(at_least=2)
    assert {each["reporter"] for each in records} == {"source", "destination"}
    assert all(each["mtls"]["version"] == "TLSv1.3" for each in records)
    assert {each["source"]["identity"] for each in records} == {"spiffe://cluster.local/ns/placed/sa/client"}
    listed = site.hauberk("get", "pods", "-n", "placed", "-o", "wide").stdout.splitlines()
    nodes = {line.split()[0]: line for line in listed}
    assert " n2 " in nodes["web"]
    assert " n2 " in nodes["client"]
    assert " n2 " not in nodes["home"]
    assert site.node("n2")["state"] == "joined"
    assert site.node("n2")["certificate"]["notAfter"]


def test_the_status_shows_every_machine_and_the_proxies_on_it(site: Site, placed: MeshNamespace) -> None:
    status = json.loads(site.hauberk("status", "-o", "json").stdout)
    assert {each["node"]: (each["ready"], each["pods"]) for each in status["agents"]}["n2"] == (True, 2)
    proxies = {each["pod"]: each for each in status["proxies"] if each["namespace"] == placed.name}
    assert all(proxies[name]["ready"] and proxies[name]["synced"] for name in ("web", "client", "home"))
    assert proxies["web"]["certificate"]["spiffeId"] == "spiffe://cluster.local/ns/placed/sa/web"


def test_a_machine_that_starts_again_needs_no_token(site: Site, second: Machine, placed: MeshNamespace) -> None:
    before = second.membership()
    assert second.places.membership.stat().st_mode & 0o777 == 0o600
    assert second.hauberk("down").returncode == 0
    until(lambda: not site.node("n2")["connected"], "the control plane to notice")
    assert second.up().returncode == 0
    placed.ready("web", "client")
    assert ask(on(second, "placed"), "client", "http", "web", 80)["status"] == 200
    assert second.membership()["node"] == before["node"]


def test_a_control_plane_that_was_killed_is_found_again_by_its_machines(site: Site, second: Machine, placed: MeshNamespace) -> None:
    processes.kill(site.mesh, "control-plane")
    objects.apply(on_control_plane(site, placed.name), objects.idle("late", nodeName="n2"))
    placed.ready("late")
    assert ask(on(second, "placed"), "client", "http", "web", 80)["status"] == 200
    until(lambda: site.node("n2")["connected"], "the agent to report again")


def on_control_plane(site: Site, namespace: str) -> MeshNamespace:
    """The namespace, as soon as the control plane answers again."""
    until(lambda: bool(site.mesh.api("GET", "/v1/readyz")["ready"]), "the control plane")
    return MeshNamespace(site.mesh, namespace)


# --- tokens


def refused(done: subprocess.CompletedProcess[str], what: str, secret: str) -> None:
    assert done.returncode != 0
    assert what in done.stderr
    assert secret not in done.stdout + done.stderr


def test_a_token_is_good_once_in_time_for_its_node_and_as_it_was_made(site: Site, second: Machine) -> None:
    machine, places = site.machine(), second.places

    def turned_away(file: Path, what: str) -> None:
        with pytest.raises(LocalFailure, match=what) as refusal:
            joining.join(machine.places, JoinFile.read(file))
        assert secret not in str(refusal.value) + refusal.value.hint
        assert not machine.places.membership.exists()

    try:
        file = site.join_file("n3")
        token = json.loads(file.read_text())["token"]
        secret = token.partition(".")[2]
        tampered = token[:-1] + ("A" if token[-1] != "A" else "B")
        turned_away(site.changed(file, token=tampered), "the join token is not valid")
        turned_away(site.changed(file, node="n4"), "made for another node")
        turned_away(site.changed(file, node="../n3"), "is no join file, or a damaged one")
        local = site.mesh.agent("GET", "/v1/status")["agents"][0]["node"]
        turned_away(site.changed(file, node=local.lower()), "own machine")
        short = site.join_file("n5", ttl=1)
        until(lambda: "n5" not in json.dumps(site.mesh.api("GET", "/v1/ca/nodes")["tokens"]), "the end of the token")
        turned_away(short, "the join token expired")
        # The file's own word that it is good for long does not help.
        turned_away(site.changed(short, expires="2099-01-01T00:00:00Z"), "the join token expired")
        joining.join(machine.places, JoinFile.read(file))
        machine.places.membership.unlink()
        refused(machine.join(file), "the join token was used already", secret)
        until(lambda: events(site).count("node-refused") >= 5 and "node-joined" in events(site), "the refusals in the ledger")
        assert secret not in events(site)
        logs = (*site.mesh.places.logs.rglob("*.log"), *places.logs.rglob("*.log"))
        assert secret.encode() not in b"".join(path.read_bytes() for path in logs)
    finally:
        machine.close()


def events(site: Site) -> str:
    """The ledger of identities."""
    return "".join(path.read_text() for path in (site.mesh.places.audit / "records").iterdir())


# --- what a machine may not


async def test_a_machine_gets_no_certificate_for_a_pod_of_another(site: Site, second: Machine, placed: MeshNamespace) -> None:
    subject = PodSubject(namespace="placed", name="home", uid=uid(placed, "home"))
    with pytest.raises(CertificateRefused, match="does not run on node 'n2'"):
        await issue(second, subject)
    client = CitadelClient(local_channel(second.places.citadel_socket))
    with pytest.raises(CertificateRefused, match="does not run on node 'n2'"):
        await client.issue_token(subject, ("somebody",))
    await client.close()
    with pytest.raises(CertificateRefused, match="another one by now"):
        await issue(second, PodSubject(namespace="placed", name="web", uid=uid(placed, "home")))
    until(lambda: "certificate-refused" in events(site), "the refusals in the ledger")


async def test_a_machine_gets_no_configuration_for_a_proxy_of_another(second: Machine, placed: MeshNamespace) -> None:
    async def answer(pod: str) -> object:
        async with dial(f"unix:{second.places.xds_socket}") as stream:
            node = Node(id=f"sidecar~10.244.0.9~{pod}.placed~placed.svc.cluster.local")
            await stream.send(DeltaDiscoveryRequest(node=node, type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster"))
            return await anext(aiter(stream))

    assert placed.get("pods", "home")["spec"]["nodeName"] != "n2"
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await answer("home")
    assert failed.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert await answer("web")


async def test_a_machine_changes_nothing_of_another_and_nothing_else_either(second: Machine, placed: MeshNamespace) -> None:
    api = AsyncUnixHttp(second.places.api_socket)
    before = placed.get("pods", "home")
    lie = {"metadata": {"uid": before["metadata"]["uid"]}, "status": {"phase": "Failed", "podIPs": []}}
    assert (await api.request("PATCH", "/v1/objects/pods/placed/home/status", lie, headers=PATCH))[0] == 404
    assert (await api.request("DELETE", f"/v1/objects/pods/placed/home?finalize=true&uid={before['metadata']['uid']}"))[0] == 404
    assert (await api.request("POST", "/v1/apply", {"files": []}))[0] == 404
    assert (await api.request("POST", "/v1/ca/tokens", {"node": "n9"}))[0] == 404
    assert (await api.request("GET", "/v1/objects/pods/placed/home"))[0] == 404
    assert placed.get("pods", "home")["status"] == before["status"]


@pytest.mark.parametrize("holder", ["a pod", "another authority", "nobody"])
async def test_only_an_agents_own_certificate_is_an_agents(
    site: Site, second: Machine, placed: MeshNamespace, tmp_path: Path, holder: str
) -> None:
    roots = second.membership()["roots"]
    shown = {
        "a pod": lambda: issue(second, PodSubject(namespace="placed", name="web", uid=uid(placed, "web"))),
        "another authority": lambda: forged("hauberk/agent/n2"),
        "nobody": nothing,
    }
    credentials = await shown[holder]()
    for protocol in (API, CITADEL):
        reader, writer = await dial_tls(site.address, client_context(credentials, roots, (protocol,), tmp_path), lambda _: None)
        writer.write(b"GET /v1/readyz HTTP/1.1\r\nhost: x\r\n\r\n" if protocol == API else b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = await unless_reset(reader)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 403")
        writer.close()
    # The same way in with the agent's own certificate leads further.
    assert (await AsyncUnixHttp(second.places.api_socket).request("GET", "/v1/readyz"))[0] == 200


async def nothing() -> Credentials | None:
    return None


async def unless_reset(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""


async def forged(path: str) -> Credentials:
    """A certificate that says all the right things, of an authority of one's own."""
    key, now, hour = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    root = build_root(trust_domain="cluster.local", public_key=key.public_key(), serial=1, now=now, lifetime=hour).sign(
        key, hashes.SHA256()
    )
    spiffe_id = type(control_plane_id("cluster.local"))("cluster.local", f"/{path}")
    leaf = build_leaf(spiffe_id=spiffe_id, public_key=key.public_key(), issuer=root, serial=2, now=now, lifetime=hour)
    chain = to_pem(leaf.sign(key, hashes.SHA256())) + to_pem(root)
    return Credentials(chain_pem=chain, key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(("who", "told"), [("a pod", "is not the control plane but spiffe://"), ("another authority", "is not trusted")])
async def test_no_token_is_shown_to_who_is_not_the_control_plane(
    site: Site, second: Machine, placed: MeshNamespace, tmp_path: Path, who: str, told: str
) -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await unless_reset(reader))
        writer.close()

    subject = PodSubject(namespace="placed", name="web", uid=uid(placed, "web"))
    credentials = await issue(second, subject) if who == "a pod" else await forged("hauberk/control-plane")
    context = server_context(credentials, second.membership()["roots"], PROTOCOLS, tmp_path)
    machine = site.machine()
    try:
        async with await asyncio.start_server(listen, site.network.address, 0, ssl=context) as server:
            address = f"{site.network.address}:{server.sockets[0].getsockname()[1]}"
            file = await asyncio.to_thread(site.join_file, "n6")
            done = await asyncio.to_thread(machine.join, site.changed(file, addresses=[address]))
        refused(done, told, json.loads(file.read_text())["token"].partition(".")[2])
        assert heard == b""
    finally:
        machine.close()


async def test_an_agent_renews_its_own_certificate_and_gets_no_others(second: Machine) -> None:
    renewed = await issue(second, AgentSubject())
    assert "BEGIN CERTIFICATE" in renewed.chain_pem  # of its own node, whatever it would like: the request names none


async def test_a_revoked_certificate_of_an_agent_ends_its_connections_and_lets_nobody_in(
    site: Site, second: Machine, tmp_path: Path
) -> None:
    copied = await issue(second, AgentSubject())
    context = client_context(copied, second.membership()["roots"], (API,), tmp_path)
    reader, writer = await dial_tls(site.address, context, lambda _: None)
    writer.write(b"GET /v1/names?watch=true HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    serial = X509Svid.parse([copied.chain_pem]).serial
    await asyncio.to_thread(site.mesh.api, "POST", "/v1/ca/revocations", {"serial": serial, "reason": "copied"})
    await unless_reset(reader)  # to its end
    writer.close()
    reader, writer = await dial_tls(site.address, context, lambda _: None)
    writer.write(b"GET /v1/readyz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"was revoked" in await unless_reset(reader)
    writer.close()
    # The agent itself has another, and is served again.
    await asyncio.to_thread(until, lambda: bool(second.mesh.api("GET", "/v1/readyz")["ready"]), "the agent to be served")


# --- and is put out


def test_a_banned_machine_is_out_with_all_it_had_until_it_is_readmitted(site: Site) -> None:
    machine = site.machine()
    try:
        assert machine.join(site.join_file("n7")).returncode == 0
        mesh = site.mesh.namespace("banned")
        objects.apply(mesh, objects.account("app"), objects.idle("app", account="app", nodeName="n7"))
        mesh.ready("app")
        copied = machine.places.membership.read_bytes()
        banned = site.hauberk("ca", "nodes", "ban", "n7", "--reason", "stolen")
        assert banned.returncode == 0, banned.stderr
        assert "pod banned/app is removed" in banned.stdout
        assert banned.stdout.count("is revoked") >= 2  # of the pod, and of the agent
        until(lambda: "node n7 was banned" in machine.status().get("problem", ""), "the agent to say so")
        assert not machine.places.citadel_socket.exists()
        assert site.node("n7")["state"] == "banned"
        with pytest.raises(MeshFailed, match="n7 was banned"):
            site.join_file("n7")
        # Not by a restart, nor by a copy of its key elsewhere.
        machine.hauberk("down")
        machine.places.membership.write_bytes(copied)
        machine.hauberk("up", "--detach", *(["--rootless"] if site.rootless else []))
        until(lambda: "node n7 was banned" in machine.status().get("problem", ""), "the agent to say so again")
        assert site.hauberk("ca", "nodes", "readmit", "n7").returncode == 0
        # What it held stays worthless: it joins anew, while its agent runs.
        assert machine.join(site.join_file("n7")).returncode == 0
        until(lambda: "problem" not in machine.status(), "the control plane to serve it again")
        objects.apply(mesh, objects.idle("app", account="app", nodeName="n7"))
        mesh.ready("app")
    finally:
        machine.close()
    site.hauberk("ca", "nodes", "ban", "n7")


def test_a_machine_renews_by_itself_follows_the_root_and_one_that_was_away_too_long_must_join_again(
    network: Network, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rootless = bool(request.config.getoption("--mesh-rootless"))
    port = network.free_port()
    settings = {LISTEN: f"{network.address}:{port}", "HAUBERK_CERTIFICATE_LIFETIME": "10s"}
    with running_mesh("brief", rootless=rootless or None, settings=settings) as mesh:
        site = Site(mesh, network, port, tmp_path, rootless=rootless)
        machine = site.machine()
        try:
            joined = machine.join(site.join_file("n2"))
            assert joined.returncode == 0, joined.stderr
            held = machine.membership()
            until(lambda: machine.membership()["chain"] != held["chain"], "the agent to renew its certificate")
            # Also below another root, which it is told of in time: it is proven of it as of every other agent.
            rotated = site.hauberk("ca", "rotate", "--root")
            assert rotated.returncode == 0, rotated.stderr
            until(lambda: not set(machine.membership()["roots"]) & set(held["roots"]), "the agent to believe the new root alone")
            until(lambda: bool(site.node("n2")["connected"] and machine.status()["ready"]), "the agent to be served below it")
            assert machine.hauberk("down").returncode == 0
            end = X509Svid.parse(machine.membership()["chain"]).not_after
            until(lambda: datetime.datetime.now(datetime.UTC) > end, "the certificate to expire")
            late = machine.up()
            assert late.returncode != 0
            assert "the certificate of node n2 expired at" in late.stderr
            assert "hauberk ca token create" in late.stderr
            assert machine.join(site.join_file("n2")).returncode == 0
            until(lambda: bool(machine.status()["ready"]), "the agent to be served")
        finally:
            machine.close()
