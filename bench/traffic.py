"""Requests through the mesh, and the same requests without it and through proxies configured by hand, in turn."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import hand_made, program
from bench.line import Line, absent, typical
from bench.pair import Pair
from bench.processes import Found, cpu_seconds, mesh_processes, part, sidecars
from bench.scale import Scale
from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace

GROUP = "requests"
TIMES = "times"
CPU_TARGET = 1.15  # of the pair configured by hand
MESH, PLAIN, LEAN, RECORDING, HAPROXY = "mesh", "no mesh", "Envoys by hand", "Envoys by hand with records", "HAProxy by hand"
_KINDS = {LEAN: "envoy", RECORDING: "envoy+records", HAPROXY: "haproxy"}
_CONNECTIONS = 32
_SETTLE_SECONDS = 60.0  # until the agent has worked off the records of a burst
_POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-the-client}
spec:
  selector: {matchLabels: {app: server}}
  action: ALLOW
  rules:
  - from: [{source: {principals: ["cluster.local/ns/bench/sa/client"]}}]
    to: [{operation: {paths: ["/*"]}}]
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One burst of requests."""

    requests: int
    per_second: float
    cpu: float  # microseconds of both proxies per request
    median_ms: float
    p99_ms: float
    agent_cpu: float = 0.0  # microseconds of the agent per record, with what it works off afterwards


@dataclass(frozen=True, slots=True)
class Way:
    """One way from a client to a server; `proxies` are what lies between."""

    name: str
    client: str
    url: str
    proxies: tuple[int, ...]
    agent: int | None = None


def measure(scale: Scale) -> Iterator[Line]:
    """Needs wrk and nginx; without HAProxy its rows are left out."""
    missing = [name for name in ("wrk", "nginx") if not program.found(name)]
    if missing:
        yield absent(GROUP, "requests through the mesh", f"{' and '.join(missing)} not installed")
        return
    with _directory() as directory, running_mesh("bench-requests") as mesh:
        ways = _ways(mesh, directory)
        samples: dict[str, list[Sample]] = {way.name: [] for way in ways}
        for way in ways:
            _burst(mesh, way, 1)  # connections, caches, branch predictors
        for number in range(scale.rounds):
            # Forwards and backwards in turn: who is always measured after the same neighbour inherits its heat.
            for way in ways if number % 2 == 0 else reversed(ways):
                samples[way.name].append(_burst(mesh, way, scale.burst_seconds))
                scale.tell(f"round {number + 1} of {scale.rounds}: {way.name} {samples[way.name][-1].per_second:,.0f} requests/s")
    yield from _lines(samples)


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hauberk-bench-") as name:
        Path(name).chmod(0o755)  # the proxies' user is another than ours
        yield Path(name)


def _ways(mesh: Mesh, directory: Path) -> list[Way]:
    namespace = mesh.namespace(hand_made.NAMESPACE)
    names = [MESH, PLAIN, LEAN, RECORDING, *([HAPROXY] if program.found("haproxy") else [])]
    for name in names:
        _run(namespace, name, directory)
    for name in names:
        namespace.ready(_label(name, "client"), _label(name, "server"))
    namespace.apply(_POLICY)
    credentials = hand_made.make_credentials(directory)
    for path in directory.iterdir():
        if path.is_file():
            path.chmod(0o644)
    ways = []
    for name in names:
        address = _pod(namespace, name, "server")["status"]["podIP"]
        host = "server" if name == MESH else address
        way = Way(name, _label(name, "client"), f"http://{host}:{program.PORT}/", ())
        if name in _KINDS:
            pair = Pair(_KINDS[name], directory, credentials)
            networks = [_pod(namespace, name, side)["metadata"]["uid"] for side in ("client", "server")]
            asyncio.run(pair.start(mesh.places, networks, address))
            inner = asyncio.run(pair.processes(mesh.places))
            way = _through(way, mesh, inner)
        elif name == MESH:
            processes = mesh_processes(mesh.places)
            way = Way(way.name, way.client, way.url, tuple(each.pid for each in sidecars(processes)), part(processes, "agent").pid)
        _await_answer(namespace, way)
        ways.append(way)
    return ways


def _run(namespace: MeshNamespace, name: str, directory: Path) -> None:
    inject = name == MESH
    client, server = _label(name, "client"), _label(name, "server")
    files = directory / server
    namespace.run(client, ["sleep", "infinity"], inject=inject, wait=False)
    command = program.nginx(files)
    files.chmod(0o777)
    namespace.run(server, command, port=f"http:{program.PORT}", inject=inject, directory=str(files), wait=False)


def _label(name: str, side: str) -> str:
    return side if name == MESH else f"{name.lower().replace(' ', '-')}-{side}"


def _pod(namespace: MeshNamespace, name: str, side: str) -> dict[str, dict[str, str]]:
    return namespace.get("pods", namespace.pod(_label(name, side)))


def _through(way: Way, mesh: Mesh, inner: Sequence[int]) -> Way:
    known: dict[int, Found] = {each.inner: each for each in mesh_processes(mesh.places)}
    return Way(way.name, way.client, way.url, tuple(known[number].pid for number in inner))


def _await_answer(namespace: MeshNamespace, way: Way) -> None:
    host, _, port = way.url.removeprefix("http://").removesuffix("/").partition(":")
    done = namespace.exec(way.client, *program.caller(host, int(port)))
    if "served" not in done.stdout:
        raise RuntimeError(f"no answer by way of {way.name}: {done.stdout} {done.stderr}")


def _burst(mesh: Mesh, way: Way, seconds: int) -> Sample:
    namespace = MeshNamespace(mesh, hand_made.NAMESPACE)
    agent = () if way.agent is None else (way.agent,)
    before, agent_before, records = cpu_seconds(way.proxies), cpu_seconds(agent), _records(mesh)
    command = (program.found("wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--latency", way.url)
    printed = namespace.exec(way.client, *command).check().stdout
    # Envoy writes what it has buffered a moment later; that is work for these requests as well.
    time.sleep(0.3)
    used = cpu_seconds(way.proxies) - before
    requests, per_second, middle, last = read_wrk(printed)
    written = _settle(mesh) - records if agent else 0
    spent = cpu_seconds(agent) - agent_before
    return Sample(requests, per_second, used / requests * 1e6, middle, last, spent / written * 1e6 if written else 0.0)


def read_wrk(text: str) -> tuple[int, float, float, float]:
    """Requests, requests per second, median and 99th percentile in milliseconds; refuses a run in which anything failed."""
    if failed := re.search(r"(Non-2xx.*|Socket errors.*)", text):
        raise RuntimeError(f"requests failed: {failed[1]}")
    total, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    if total is None or rate is None:
        raise RuntimeError(f"wrk said something else: {text!r}")
    return int(total[1]), float(rate[1]), _milliseconds(text, "50%"), _milliseconds(text, "99%")


def _milliseconds(text: str, which: str) -> float:
    found = re.search(rf"{which}\s+([\d.]+)(us|ms|s)\b", text)
    return 0.0 if found is None else float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def _records(mesh: Mesh) -> int:
    """Records that the agent has seen so far, kept or dropped."""
    counts = mesh.agent("GET", "/v1/status")["records"]
    return int(counts["kept"]) + int(counts["dropped"])


def _settle(mesh: Mesh) -> int:
    """As `_records`, when it has stopped growing: the agent's work must not fall into the next measurement."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    before, now = -1, _records(mesh)
    while now != before and time.monotonic() < deadline:
        time.sleep(0.5)
        before, now = now, _records(mesh)
    return now


def _lines(samples: dict[str, list[Sample]]) -> Iterator[Line]:
    mesh, lean = samples[MESH], samples[LEAN]
    ratios = [ours.cpu / theirs.cpu for ours, theirs in zip(mesh, lean, strict=True)]
    name = "CPU per request of both sidecars, as a multiple of two Envoys by hand"
    yield typical(GROUP, name, TIMES, ratios, target=CPU_TARGET, note="mTLS, policy and records against mTLS and policy")
    for other, each in samples.items():
        if other not in (MESH, LEAN, PLAIN):
            values = [ours.cpu / theirs.cpu for ours, theirs in zip(mesh, each, strict=True)]
            yield typical(GROUP, f"  the same, of {other}", TIMES, values, note="no policy, no records" if other == HAPROXY else "")
    if HAPROXY not in samples:
        yield absent(GROUP, "HAProxy by hand", "haproxy not installed")
    for other, each in samples.items():
        if other != MESH:
            values = [ours.per_second / theirs.per_second for ours, theirs in zip(mesh, each, strict=True)]
            yield typical(GROUP, f"requests per second, as a multiple of {other}", TIMES, values)
    for name, each in samples.items():
        if name != PLAIN:
            yield typical(GROUP, f"CPU per request: {name}", "µs", [sample.cpu for sample in each])
    for name, each in samples.items():
        latency = f"median {median(s.median_ms for s in each):.1f} ms, p99 {median(s.p99_ms for s in each):.1f} ms"
        yield typical(GROUP, f"requests per second: {name}", "/s", [sample.per_second for sample in each], note=latency)
    yield typical(GROUP, "CPU of the agent per record", "µs", [sample.agent_cpu for sample in mesh], note="two records a request")
