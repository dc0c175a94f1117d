"""Sidecars on real Envoys: mutual TLS, rotation, restarts of each part under load; as root, and the same as a user without privileges."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.e2e import unprivileged

from hauberk.citadel.settings import LIFETIME_VARIABLE
from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable
from hauberk.linux.launch import Launcher, ProcessSpec
from hauberk.local import launching, up

ROOT = os.geteuid() == 0
HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
PATIENCE = 30.0  # seconds after which something that should happen will not
LIFETIME_SECONDS = 6  # half of it is how long a control plane may take to start again on a busy machine

OBJECTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: server}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec: {serviceAccountName: server, containers: [{name: main, command: [server], ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec: {serviceAccountName: client, containers: [{name: main, command: [client]}]}
"""

SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("0.0.0.0", 8080), Handler).serve_forever()
"""


class Program:
    """A process of the launcher with a pipe in and a pipe out, one JSON document a line."""

    def __init__(self, launcher: Launcher, name: str) -> None:
        self.launcher = launcher
        self.name = name
        self.lines = asyncio.StreamReader(limit=1 << 24)
        self._input = -1

    async def start(self, spec: ProcessSpec, errors: int = 2) -> None:
        theirs_in, self._input = os.pipe2(os.O_CLOEXEC)
        ours_out, theirs_out = os.pipe2(os.O_CLOEXEC)
        try:
            await self.launcher.spawn(self.name, spec, (theirs_in, theirs_out, errors))
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        protocol = asyncio.StreamReaderProtocol(self.lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(ours_out, "rb"))

    async def read(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            line = await self.lines.readline()
        assert line, f"{self.name} ended"
        return json.loads(line)

    async def ask(self, op: str, **given: object) -> Any:
        os.write(self._input, json.dumps({"op": op, **given}).encode() + b"\n")
        return await self.read()

    async def end(self, number: int) -> None:
        await self.launcher.signal(self.name, number)
        await self.launcher.wait(self.name)
        await self.launcher.forget(self.name)

    def close(self) -> None:
        os.close(self._input)


@dataclass
class Mesh:
    """Init, a control plane, and the driver in the agent's place, with both pods' sidecars ready and the server serving."""

    places: Places
    launcher: Launcher
    api: AsyncUnixHttp
    control_plane: Program
    driver: Program
    vip: str = ""

    async def start_control_plane(self) -> None:
        await self.control_plane.start(inside("-m", "hauberk", "control-plane"))
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(NotReachable):
                    await self.api.request("GET", "/v1/readyz")
                    return
                await asyncio.sleep(0.05)

    async def start_driver(self) -> None:
        self.driver = Program(self.launcher, "driver")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(self.places.init_socket))
        with connection:
            await self.driver.start(inside(str(HERE / "sidecar_driver.py")), errors=connection.fileno())
        async with asyncio.timeout(PATIENCE):
            line = await self.driver.lines.readline()
        assert line, self.places.process_log("driver").read_text()

    async def say(self, pod: str, what: str) -> Any:
        return (await self.driver.ask("state", pod=pod))[what]

    async def load(self, rate: float) -> Program:
        client = await self.driver.ask("state", pod="client")
        program = Program(self.launcher, "load")
        argv = (sys.executable, str(HERE / "load_client.py"), self.vip, "80", str(rate))
        await program.start(ProcessSpec(argv=argv, env=ENVIRONMENT, network=client["uid"]))
        assert await program.read() == "started"
        return program

    async def goes_on(self, load: Program, requests: int = 50) -> None:
        """So many requests more have been answered."""

        async def answered() -> int:
            await self.launcher.signal(load.name, signal.SIGUSR1)
            return int(await load.read())

        before = await answered()

        async def enough() -> bool:
            return await answered() >= before + requests

        await eventually(enough)

    async def outcome(self, load: Program) -> Any:
        await self.launcher.signal(load.name, signal.SIGTERM)
        outcome = await load.read()
        await self.launcher.wait(load.name)
        await self.launcher.forget(load.name)
        load.close()
        return outcome

    async def request(self, network: str = "") -> bool:
        """Whether a single request of the client pod is answered."""
        network = network or await self.say("client", "uid")
        script = f"import urllib.request as u; print(u.urlopen('http://{self.vip}/hello', timeout=5).read())"
        null = os.open(os.devnull, os.O_RDWR)
        spec = ProcessSpec(argv=(sys.executable, "-c", script), env=ENVIRONMENT, network=network)
        try:
            return await self.launcher.run("request", spec, (null, null, null)) == 0
        finally:
            os.close(null)

    async def envoy(self, pod: str) -> tuple[str, int]:
        """The launcher's name of the pod's Envoy, and its process."""
        name = f"{(await self.driver.ask('state', pod=pod))['uid']}/proxy"
        (process,) = [process for process in await self.launcher.processes() if process.name == name and process.running]
        return name, process.pid


T = TypeVar("T")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def inside(*arguments: str) -> ProcessSpec:
    """A part of the mesh: Python with all the rights of the mesh's own processes."""
    kept = {name: os.environ[name] for name in (STATE_VARIABLE, RUN_VARIABLE, LIFETIME_VARIABLE, "HOME") if name in os.environ}
    return ProcessSpec(
        argv=(sys.executable, *arguments), env=ENVIRONMENT | kept, cwd=str(CHECKOUT), capabilities=("ALL",), no_new_privs=False, umask=0o077
    )


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """A mesh's init without parts of its own."""
    home = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    home.chmod(0o711)
    monkeypatch.setenv(STATE_VARIABLE, str(home / "s"))
    monkeypatch.setenv(RUN_VARIABLE, str(home / "r"))
    monkeypatch.setenv(LIFETIME_VARIABLE, f"{LIFETIME_SECONDS}s")
    places = Places()
    held = up._prepare(places, rootless=not ROOT)
    assert held is not None
    with up._orphans_adopted(detach=False):
        running = launching.launch(places, held, rootless=not ROOT, tied=True, parts=())
        try:
            yield places
        finally:
            up._end(places, running)
            running.close()
            shutil.rmtree(home)


@pytest.fixture
async def mesh(places: Places) -> AsyncIterator[Mesh]:
    launcher = await Launcher.connect(places.init_socket)
    mesh = Mesh(places, launcher, AsyncUnixHttp(places.api_socket), Program(launcher, "plane"), Program(launcher, "driver"))
    await mesh.start_control_plane()
    apply = {"files": [{"name": "objects", "text": OBJECTS}], "namespace": "default", "dryRun": False, "wait": None}
    status, answer = await mesh.api.request("POST", "/v1/apply", apply)
    assert status == 200, answer
    _, service = await mesh.api.request("GET", "/v1/objects/services/default/server")
    mesh.vip = service["spec"]["clusterIP"]
    await mesh.start_driver()
    server = await mesh.driver.ask("state", pod="server")
    program = Program(launcher, "server")
    await program.start(ProcessSpec(argv=(sys.executable, "-c", SERVER), env=ENVIRONMENT, network=server["uid"]))
    await eventually(mesh.request)
    try:
        yield mesh
    finally:
        launcher.close()


async def eventually(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer that is not nothing."""
    async with asyncio.timeout(PATIENCE):
        while not (answer := await ask()):  # noqa: ASYNC110 - another process's doing has no event here
            await asyncio.sleep(0.05)
    return answer


async def rotations(mesh: Mesh, pod: str, number: int) -> set[str]:
    """The serial numbers of `number` certificates in a row."""
    serials: set[str] = set()
    async with asyncio.timeout(PATIENCE):
        while len(serials) < number:
            serials.add((await mesh.driver.ask("state", pod=pod))["serial"])
            await asyncio.sleep(0.1)
    return serials


async def test_unaware_programs_talk_over_mutual_tls_and_both_sides_record_it(mesh: Mesh) -> None:
    assert await mesh.request()

    async def both() -> list[dict[str, Any]]:
        seen = [record for record in await mesh.driver.ask("records", denied=False) if record["status"] == 200]
        return seen if len({record["reporter"] for record in seen}) == 2 else []

    seen = await eventually(both)
    by_side = {record["reporter"]: record for record in seen}
    assert by_side.keys() == {"source", "destination"}
    for record in by_side.values():
        assert record["source"]["identity"] == "spiffe://cluster.local/ns/default/sa/client"
        assert record["destination"]["identity"] == "spiffe://cluster.local/ns/default/sa/server"
        assert (record["source"]["pod"], record["destination"]["pod"]) == ("client", "server")
        assert (record["destination"]["service"], record["destination"]["port"]) == ("server.default.svc.cluster.local", 80)
        assert record["mtls"]["version"] == "TLSv1.3"
        assert record["mtls"]["group"] == "X25519MLKEM768"


async def test_certificates_of_seconds_rotate_under_load_without_a_failed_request(mesh: Mesh) -> None:
    load = await mesh.load(200)
    serials = await rotations(mesh, "server", 5)
    outcome = await mesh.outcome(load)
    print(outcome, f"{len(serials)} certificates")
    assert outcome["failed"] == 0, outcome
    assert outcome["done"] > 50


async def test_a_killed_envoy_means_no_traffic_until_it_is_restarted(mesh: Mesh) -> None:
    name, before = await mesh.envoy("client")
    # Whoever would start it again is stopped for as long as it takes to look.
    await mesh.launcher.signal("driver", signal.SIGSTOP)
    await mesh.launcher.signal(name, signal.SIGKILL)
    assert not await mesh.request(network=name.partition("/")[0])
    await mesh.launcher.signal("driver", signal.SIGCONT)
    await eventually(lambda: mesh.say("client", "restarts"))
    await mesh.driver.ask("ready", pod="client")
    assert await mesh.request()
    assert (await mesh.envoy("client"))[1] != before


async def test_an_envoy_that_dies_while_the_control_plane_is_down_is_configured_from_the_agents_cache(mesh: Mesh) -> None:
    await mesh.control_plane.end(signal.SIGKILL)
    name, _ = await mesh.envoy("client")
    await mesh.launcher.signal(name, signal.SIGKILL)
    await eventually(lambda: mesh.say("client", "restarts"))
    await mesh.driver.ask("ready", pod="client")
    assert await mesh.request()


async def test_a_control_plane_killed_and_restarted_under_load_fails_no_request_and_sends_nothing_again(mesh: Mesh) -> None:
    load = await mesh.load(200)
    await mesh.goes_on(load)
    told = await mesh.driver.ask("told")
    await mesh.control_plane.end(signal.SIGKILL)
    await mesh.start_control_plane()
    await eventually(lambda: mesh.say("client", "control_plane"))
    await rotations(mesh, "client", 2)
    outcome = await mesh.outcome(load)
    again = {name: number - told.get(name, 0) for name, number in (await mesh.driver.ask("told")).items()}
    print(outcome, again)
    assert outcome["failed"] == 0, outcome
    assert not any(again.values()), again


async def test_an_agent_killed_and_restarted_under_load_fails_no_request_and_changes_no_envoy(mesh: Mesh) -> None:
    load = await mesh.load(200)
    before = [await mesh.envoy(pod) for pod in ("client", "server")]
    counters = "/stats?filter=cluster_manager.cluster_(added|modified|removed)|listener_manager.listener_(added|modified|removed|in_place)"
    statistics = (await mesh.driver.ask("admin", pod="client", path=counters))[1]
    await mesh.goes_on(load)
    await eventually(lambda: mesh.driver.ask("cached"))
    await mesh.driver.end(signal.SIGKILL)
    await mesh.start_driver()
    assert await mesh.driver.ask("told") == {}
    assert [await mesh.envoy(pod) for pod in ("client", "server")] == before
    assert (await mesh.driver.ask("admin", pod="client", path=counters))[1] == statistics
    await rotations(mesh, "server", 2)
    outcome = await mesh.outcome(load)
    print(outcome)
    assert outcome["failed"] == 0, outcome


async def test_records_are_neither_lost_nor_doubled_by_an_agents_restart(mesh: Mesh) -> None:
    load = await mesh.load(100)
    await mesh.goes_on(load)
    await mesh.driver.end(signal.SIGKILL)
    await mesh.goes_on(load)
    await mesh.start_driver()
    done = (await mesh.outcome(load))["done"]

    async def all_of_them() -> list[str]:
        records = await mesh.driver.ask("records", denied=False)
        mine = [r["requestId"] for r in records if r["reporter"] == "source" and r["path"] == "/hello" and r["status"] == 200]
        return mine if len(mine) >= done else []

    mine = await eventually(all_of_them)
    assert len(mine) == len(set(mine))


async def test_what_is_stopped_leaves_nothing(mesh: Mesh) -> None:
    state = await mesh.driver.ask("state", pod="client")
    await mesh.driver.ask("stop", pod="client")
    assert f"{state['uid']}/proxy" not in {process.name for process in await mesh.launcher.processes()}
    assert not mesh.places.pod_run(state["uid"]).exists()
    assert not list((mesh.places.agent_state / "xds").glob(f"{state['uid']}*"))


async def test_the_sockets_of_a_sidecar_are_its_own(mesh: Mesh) -> None:
    state = await mesh.driver.ask("state", pod="server")
    directory = mesh.places.pod_run(state["uid"])
    owner = 1337 if ROOT else os.getuid()
    assert (directory.stat().st_uid, directory.stat().st_mode & 0o7777) == (os.getuid(), 0o1770 if ROOT else 0o700)
    assert ((directory / "xds.sock").stat().st_uid, (directory / "xds.sock").stat().st_gid) == (os.getuid(), directory.stat().st_gid)
    assert (directory / "xds.sock").stat().st_mode & 0o777 == (0o660 if ROOT else 0o600)
    for name in ("admin.sock", "access.log"):
        found = (directory / name).stat()
        assert (found.st_uid, found.st_mode & 0o077) == (owner, 0), name


@pytest.mark.skipif(not ROOT, reason="without root every Envoy is the one user there is")
async def test_an_envoy_that_was_taken_over_cannot_look_into_another(mesh: Mesh) -> None:
    _, own = await mesh.envoy("client")
    _, other = await mesh.envoy("server")
    script = (
        "import json, os, socket, sys\n"
        "answers = []\n"
        "for pid in sys.argv[1:]:\n"
        "    try:\n"
        "        socket.socket(socket.AF_UNIX).connect(f'/proc/{pid}/cwd/xds.sock')\n"
        "        open(f'/proc/{pid}/mem', 'rb').close()\n"
        "        answers.append('')\n"
        "    except OSError as error:\n"
        "        answers.append(error.strerror)\n"
        "print(json.dumps(answers))\n"
    )
    client = await mesh.driver.ask("state", pod="client")
    group = mesh.places.pod_run(client["uid"]).stat().st_gid
    program = Program(mesh.launcher, "taken-over")
    argv = ("python3", "-c", script, str(own), str(other))
    await program.start(ProcessSpec(argv=argv, env=ENVIRONMENT, uid=1337, gid=group, capabilities=("NET_ADMIN",)))
    try:
        assert await program.read() == ["", "Permission denied"]
    finally:
        await program.launcher.wait(program.name)
        await program.launcher.forget(program.name)
        program.close()


async def test_envoy_holds_one_capability_and_cannot_gain_more(mesh: Mesh) -> None:
    _, pid = await mesh.envoy("client")
    null, (ours, theirs) = os.open(os.devnull, os.O_RDONLY), os.pipe()
    spec = ProcessSpec(argv=("cat", f"/proc/{pid}/status"), env=ENVIRONMENT, capabilities=("ALL",), no_new_privs=False)
    await mesh.launcher.run("look", spec, (null, theirs, 2))
    os.close(theirs)
    with os.fdopen(ours) as stream:
        status = dict(line.split(":\t", 1) for line in stream.read().splitlines() if ":\t" in line)
    os.close(null)
    assert int(status["CapEff"], 16) == 1 << 12
    assert int(status["CapBnd"], 16) in (1 << 12, int(status["CapBnd"], 16))
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split()[0] == ("1337" if ROOT else "0")


async def test_no_key_is_in_a_log_or_on_disk(mesh: Mesh) -> None:
    await rotations(mesh, "client", 2)
    authority = mesh.places.authority
    for path in mesh.places.state.rglob("*"):
        if path.is_file() and authority not in path.parents:
            assert b"PRIVATE KEY" not in path.read_bytes(), path


@pytest.mark.skipif(not ROOT, reason="this is what it is run by")
def test_all_of_this_holds_without_privileges() -> None:
    done = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__))])
    assert done.returncode == 0, done.stdout + done.stderr
