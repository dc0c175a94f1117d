"""The control plane as a process of its own, over its socket, with bad input and sudden death."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from tests.e2e import unprivileged

from hauberk.agent.citadel_client import CertificateRefused, CitadelClient, local_channel
from hauberk.identity.csr import build_csr_der
from hauberk.identity.svid import X509Svid
from hauberk.identity.wire import PodSubject
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable
from hauberk.sources.store import Store

SECONDS_TO_START = 30.0


class ControlPlane(AsyncUnixHttp):
    """A control plane that can be killed and started again, and a client of it."""

    def __init__(self, directory: Path, prefix: tuple[str, ...] = ()) -> None:
        self.environment = {**os.environ, "HAUBERK_STATE_DIR": str(directory / "state"), "HAUBERK_RUN_DIR": str(directory / "run")}
        self.environment["HAUBERK_MESH"] = "test"
        self.prefix = prefix
        self.log = directory / "log"
        self.objects = directory / "state" / "test" / "objects.db"
        self.process: subprocess.Popen[bytes] | None = None
        super().__init__(directory / "run" / "test" / "api.sock")

    def spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [*self.prefix, sys.executable, "-m", "hauberk", "control-plane"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        return self.process

    async def start(self) -> None:
        process = self.spawn()
        async with asyncio.timeout(SECONDS_TO_START):
            while not await self._ready():
                assert process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)

    async def _ready(self) -> bool:
        try:
            return (await self.request("GET", "/v1/readyz"))[0] == 200
        except NotReachable:
            return False

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=SECONDS_TO_START)

    async def apply(self, *texts: str, **more: Any) -> tuple[int, Any]:
        files = [{"name": f"{number}.yaml", "text": text} for number, text in enumerate(texts)]
        return await self.request("POST", "/v1/apply", {"files": files, **more}, timeout=60.0)

    async def names(self, plural: str) -> list[str]:
        _, body = await self.request("GET", f"/v1/objects/{plural}")
        return [item["metadata"]["name"] for item in body["items"]]


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not pytest's: its paths are long for sockets, and every other run of pytest closes their root to other users.
    with tempfile.TemporaryDirectory(prefix="hauberk-") as made:
        yield Path(made)


@pytest_asyncio.fixture
async def plane(directory: Path) -> AsyncIterator[ControlPlane]:
    served = ControlPlane(directory)
    await served.start()
    yield served
    if served.process is not None and served.process.poll() is None:
        assert served.end(signal.SIGTERM) == 0, served.log.read_text()


def config_map(name: str, value: str = "1") -> str:
    return f'{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{x: "{value}"}}}}\n'


def codes(body: Any) -> list[str]:
    return [each["code"] for each in body["problems"]]


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, command: [serve], ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


async def events(plane: ControlPlane, path: str) -> AsyncGenerator[tuple[str, Any]]:
    async with aclosing(plane.stream_lines(path)) as lines:
        async for line in lines:
            event = json.loads(line)
            yield event["type"], event["object"]


async def test_a_fresh_mesh_demands_mutual_tls_visibly(plane: ControlPlane) -> None:
    assert await plane.names("ns") == ["default", "istio-system"]
    _, body = await plane.request("GET", "/v1/objects/pa/istio-system/default")
    assert body["spec"]["mtls"]["mode"] == "STRICT"


async def test_a_deployment_becomes_pods_addresses_and_a_name(plane: ControlPlane) -> None:
    status, body = await plane.apply(DEPLOYMENT, wait=10)
    assert (status, [each["result"] for each in body["applied"]]) == (200, ["created", "created"])
    pods: set[str] = set()
    async with asyncio.timeout(10), aclosing(events(plane, "/v1/objects/pods?watch=true")) as stream:
        async for type_, item in stream:
            if type_ == "ADDED":
                pods.add(item["metadata"]["name"])
            if len(pods) == 3:
                break
    _, names = await plane.request("GET", "/v1/names")
    _, service = await plane.request("GET", "/v1/objects/svc/default/web")
    assert names["services"]["web.default"]["addresses"] == service["spec"]["clusterIPs"]


async def test_a_pod_gets_a_certificate_for_its_own_identity_and_nobody_elses(plane: ControlPlane) -> None:
    await plane.apply("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, command: [x]}]}}")
    _, pod = await plane.request("GET", "/v1/objects/pods/default/p")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = PodSubject(namespace="default", name="p", uid=pod["metadata"]["uid"])
    channel = local_channel(Path(plane.path).with_name("citadel.sock"))
    client = CitadelClient(channel)
    try:
        reply = await client.issue(subject, build_csr_der(key))
        svid = X509Svid.from_der(reply.chain_der)
        assert str(svid.spiffe_id) == "spiffe://cluster.local/ns/default/sa/default"
        assert svid.leaf.public_key() == key.public_key()
        with pytest.raises(CertificateRefused, match="another one by now"):
            await client.issue(replace(subject, uid="another"), build_csr_der(key))
    finally:
        await client.close()


ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [unclosed\n", "HBK0001"),
        ("\ta: b\n", "HBK0001"),
        ("just words\n", "HBK0007"),
        ("{apiVersion: v1, kind: Quark, metadata: {name: x}}", "HBK0101"),
        ("{apiVersion: v2, kind: Service, metadata: {name: x}}", "HBK0102"),
        ("{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {prots: []}}", "HBK0103"),
        ("{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 70000}]}}", "HBK0107"),
        (config_map("a") + "---\n" + config_map("a"), "HBK0109"),
        (config_map("big", "x" * 6_000_000), "HBK0002"),
        ("[" * 100_000, "HBK0003"),
        (ALIAS_BOMB, "HBK0004"),
    ],
    ids=["broken", "tab", "words", "kind", "version", "field", "port", "twice", "large", "deep", "bomb"],
)
async def test_bad_input_is_refused_with_its_reason_and_nothing_of_it_happens(plane: ControlPlane, text: str, code: str) -> None:
    status, body = await plane.apply(config_map("good"), text)
    assert status == 422
    assert code in codes(body)
    told = next(each for each in body["problems"] if each["code"] == code)
    assert told["file"] == "1.yaml"
    assert told["remedy"]
    assert await plane.names("cm") == []


async def test_a_hundred_megabytes_are_refused_and_the_mesh_goes_on(plane: ControlPlane) -> None:
    status, body = await plane.apply("x" * 100_000_000)
    assert (status, codes(body)) == (413, ["HBK0002"])
    assert (await plane.apply(config_map("a")))[0] == 200
    assert memory_of(plane) < 300_000_000


def memory_of(plane: ControlPlane) -> int:
    assert plane.process is not None
    status = Path(f"/proc/{plane.process.pid}/status").read_text().split("VmRSS:")[1]
    return int(status.split()[0]) * 1024


async def test_killed_and_started_again_it_knows_all_it_acknowledged(plane: ControlPlane) -> None:
    acknowledged: set[str] = set()
    enough = asyncio.Event()

    async def write(name: str) -> None:
        try:
            status, _ = await plane.apply(*(config_map(f"{name}-{part}") for part in "abc"))
        except NotReachable:
            return
        if status == 200:
            acknowledged.add(name)
        if len(acknowledged) % 20 == 0:
            enough.set()

    for attempt in range(3):
        writers = [asyncio.create_task(write(f"w{attempt}-{number}")) for number in range(200)]
        await enough.wait()
        enough.clear()
        plane.end(signal.SIGKILL)
        await asyncio.gather(*writers)
        await plane.start()
        found = set(await plane.names("cm"))
        assert {f"{name}-{part}" for name in acknowledged for part in "abc"} <= found
        written = {name.rpartition("-")[0] for name in found}
        assert all({f"{name}-{part}" for part in "abc"} <= found for name in written), "half of an apply is there"


async def test_a_watch_resumes_across_a_sudden_death(plane: ControlPlane) -> None:
    await plane.apply(config_map("a"), config_map("b"))
    _, before = await plane.request("GET", "/v1/objects/cm")
    await plane.request("DELETE", "/v1/objects/cm/default/a")
    await plane.apply(config_map("c"))
    plane.end(signal.SIGKILL)
    await plane.start()
    seen: list[str] = []
    path = f"/v1/objects/cm?watch=true&resourceVersion={before['metadata']['resourceVersion']}"
    async with aclosing(events(plane, path)) as stream:
        async for type_, item in stream:
            if type_ == "BOOKMARK":
                break
            seen.append(f"{type_} {item['metadata']['name']}")
    assert seen == ["DELETED a", "ADDED c"]


async def test_what_was_deleted_by_hand_does_not_come_back_with_a_restart(plane: ControlPlane) -> None:
    _, roots = await plane.request("GET", "/v1/ca/bundle")
    await plane.request("DELETE", "/v1/objects/pa/istio-system/default")
    assert plane.end(signal.SIGTERM) == 0
    await plane.start()
    assert await plane.names("pa") == []
    _, later = await plane.request("GET", "/v1/ca/bundle")
    assert later["keys"] == roots["keys"]


async def test_it_ends_at_once_with_a_watch_open(plane: ControlPlane) -> None:
    async with aclosing(plane.stream_lines("/v1/objects/pods?watch=true")) as lines:
        assert json.loads(await anext(lines))["type"] == "BOOKMARK"
        ended = asyncio.create_task(asyncio.to_thread(plane.end, signal.SIGTERM))
        assert [line async for line in lines] == []
    assert await ended == 0


async def test_a_second_control_plane_does_not_start(plane: ControlPlane) -> None:
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hauberk", "control-plane"), env=plane.environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await second.communicate()
    assert second.returncode == 1
    assert b"another control plane has the store open" in said
    assert b"Traceback" not in said
    assert await plane.names("ns") == ["default", "istio-system"]


async def test_a_store_of_another_version_is_refused_with_a_remedy(directory: Path) -> None:
    plane = ControlPlane(directory)
    plane.objects.parent.mkdir(parents=True)
    plane.objects.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert plane.spawn().wait(timeout=SECONDS_TO_START) == 1
    said = plane.log.read_text()
    assert "objects.db" in said
    assert "Traceback" not in said


@pytest.fixture
def small_disk(directory: Path) -> Iterator[Path]:
    """A file system of 1 MB for the state."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(state)], check=False, capture_output=True).returncode:
        pytest.skip("only root mounts file systems")
    yield state
    subprocess.run(["umount", str(state)], check=True)


async def test_a_full_disk_is_told_and_what_was_written_stays(small_disk: Path, plane: ControlPlane) -> None:
    assert (await plane.apply(config_map("small")))[0] == 200
    status, body = await plane.apply(config_map("large", "x" * 1_500_000))
    assert (status, codes(body)) == (507, ["HBK0508"])
    assert "disk is full" in body["problems"][0]["message"]
    assert await plane.names("cm") == ["small"]
    assert (await plane.apply(config_map("next")))[0] == 200
    plane.end(signal.SIGKILL)
    await plane.start()
    assert await plane.names("cm") == ["next", "small"]


def open_to_all(directory: Path, socket: Path) -> None:
    """Modes keep nobody from the socket; what does is the kernel's word on who connects."""
    for parent in socket.parents:
        if parent.is_relative_to(directory):
            parent.chmod(0o711)
    socket.chmod(0o666)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
async def test_another_user_may_not_use_the_api_even_where_the_socket_lets_him(plane: ControlPlane, directory: Path) -> None:
    open_to_all(directory, Path(plane.path))
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /v1/objects/pods HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'); print(s.recv(4096).decode())"
    )
    outcome = await asyncio.to_thread(unprivileged.run, [sys.executable, "-c", program, str(plane.path)])
    assert outcome.stdout.startswith("HTTP/1.1 403"), outcome.stderr
    assert "HBK0506" in outcome.stdout


async def test_a_thousand_services_are_applied_within_seconds_and_none_shares_an_address(plane: ControlPlane) -> None:
    text = "---".join(
        f"\n{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{ports: [{{port: 80}}]}}}}\n" for number in range(1000)
    )
    status, body = await plane.apply(text, wait=60)
    assert (status, len(body["applied"])) == (200, 1000)
    _, listing = await plane.request("GET", "/v1/objects/svc")
    assert len({address for item in listing["items"] for address in item["spec"]["clusterIPs"]}) == 2000


WRITER = """
import asyncio, sys
from pathlib import Path
from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import Metadata
from hauberk.sources.change import Put
from hauberk.sources.store import Store

async def write(path):
    store = Store(path)
    number = store.revision // 3
    while True:
        names = [f"{side}{number}" for side in "abc"]
        three = [ConfigMap(metadata=Metadata(name=name, namespace="default"), data={"n": "x" * 2000}) for name in names]
        await store.commit([Put(object=item) for item in three])
        print(number, flush=True)
        number += 1

asyncio.run(write(Path(sys.argv[1])))
"""


def written_until_killed(path: Path, lines: int) -> int:
    """The last number that a writer acknowledged before it was killed in the middle of its work."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = [int(process.stdout.readline()) for _ in range(lines)][-1]
        process.kill()
        rest = process.stdout.read().split()
    return int(rest[-1]) if rest else last


async def test_a_writer_killed_in_the_middle_loses_nothing_acknowledged_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    for attempt in range(5):
        last = await asyncio.to_thread(written_until_killed, tmp_path / "objects.db", 20 + attempt)
        store = Store(tmp_path / "objects.db")
        names = {item.metadata.name for item in store.list().items}
        assert {f"{side}{number}" for side in "abc" for number in range(last + 1)} <= names
        assert len(names) == store.revision
        assert {f"{side}{name[1:]}" for name in names for side in "abc"} == names
        await store.close()
