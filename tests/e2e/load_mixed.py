"""A load of requests on connections of every kind at once, each failure counted: what must not notice that certificates change.

- `kept`: HTTP on connections that stay open, which the sidecars carry over pooled connections of their own;
- `fresh`: a new connection for every request to a port of plain TCP, so each is a new handshake between the sidecars;
- `lasting`: one connection to that port for the whole time, so one handshake at the beginning.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.waits import until

from hauberk.testing.namespace import MeshNamespace

HTTP_PORT, TCP_PORT = 8080, 8081

SERVER = """
import http.server, threading
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *words): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
threading.Thread(target=Server(("0.0.0.0", 8081), Answer).serve_forever, daemon=True).start()
Server(("0.0.0.0", 8080), Answer).serve_forever()
"""

# Begins at once, says so when each kind has been answered, then says four times a second how it goes, and ends at SIGUSR1.
_LOAD = """
import http.client, json, signal, sys, threading, time
host, plan = sys.argv[1], json.loads(sys.argv[2])
done = threading.Event()
lock = threading.Lock()
found = {kind: {"total": 0, "failed": 0, "failures": [], "first_failure": 0.0, "last": 0.0} for kind in plan}
def work(kind, port, pause, fresh, offset):
    line = http.client.HTTPConnection(host, port, timeout=20)
    turn = time.monotonic() + offset
    while not done.is_set():
        time.sleep(max(0.0, turn - time.monotonic()))
        turn = max(turn + pause, time.monotonic() - 1)
        try:
            line.request("GET", "/")
            answer = line.getresponse()
            body = answer.read()
            failed = None if answer.status == 200 else f"{answer.status} {body[:300]!r}"
        except (OSError, http.client.HTTPException) as error:
            failed = f"{type(error).__name__}: {error}"
        if fresh or failed:
            line.close()
        with lock:
            mine = found[kind]
            mine["total"] += 1
            if failed:
                mine["failed"] += 1
                mine["first_failure"] = mine["first_failure"] or time.time()
                mine["failures"] = [*mine["failures"], [time.time(), failed]][:5]
            else:
                mine["last"] = time.time()
def tell():
    with lock:
        print(json.dumps(found), flush=True)
threads = []
for kind, (port, rate, workers, fresh) in plan.items():
    for number in range(workers):
        each = (kind, port, workers / rate, fresh, number / rate)
        threads.append(threading.Thread(target=work, args=each, daemon=True))
signal.signal(signal.SIGUSR1, lambda *_: done.set())
for thread in threads:
    thread.start()
while any(mine["total"] == mine["failed"] for mine in found.values()):
    time.sleep(0.01)
for mine in found.values():
    mine.update(total=0, failed=0, failures=[], first_failure=0.0)
print("started", flush=True)
while not done.wait(0.25):
    tell()
for thread in threads:
    thread.join(30)
tell()
print("over", flush=True)
signal.pause()
"""


@dataclass
class Outcome:
    """What came of one kind."""

    total: int = 0
    failed: int = 0
    first_failure: float = 0.0  # when
    last: float = 0.0  # when the last one was answered
    failures: list[Any] = field(default_factory=list)


@dataclass
class MixedLoad:
    """What came of all kinds; filled when the block ends."""

    mesh: MeshNamespace
    pod: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def look(self) -> dict[str, Outcome]:
        """How it went a quarter of a second ago; no control plane is needed to know."""
        log = str(self.mesh.mesh.agent("GET", f"/v1/pods/{self.mesh.name}/{self.pod}/logs?tail=4"))
        (*_, last) = [line for line in log.splitlines() if line.startswith("{")]
        return {kind: Outcome(**found) for kind, found in json.loads(last).items()}

    def goes_on(self, requests: int = 100) -> None:
        """So many more of each kind have been answered or have failed."""
        before = self.look()
        until(lambda: all(now.total >= before[kind].total + requests for kind, now in self.look().items()), "more requests of each kind")

    def assert_unharmed(self) -> None:
        """Each kind is there, and not one request of it has failed so far."""
        for kind, outcome in (self.outcomes or self.look()).items():
            assert outcome.total > 20, f"{kind}: only {outcome.total} requests"
            assert outcome.failed == 0, f"{kind}: {outcome.failed} of {outcome.total} failed: {outcome.failures}"

    def end(self) -> None:
        """No more requests; `outcomes` says what came of them."""
        self.mesh.exec("load", sys.executable, "-c", "import os, signal; os.kill(1, signal.SIGUSR1)").check()
        self.mesh.log_line("load", "over")
        self.outcomes = self.look()
        print({kind: (each.total, each.failed) for kind, each in self.outcomes.items()})


def arrange(mesh: MeshNamespace, replicas: int = 2) -> None:
    """A server with replicas."""
    mesh.run("web", [sys.executable, "-c", SERVER], port=(f"http:{HTTP_PORT}", f"tcp:{TCP_PORT}"), replicas=replicas)


@contextmanager
def mixed_load(mesh: MeshNamespace, *, kept: int = 400, fresh: int = 100, lasting: int = 50) -> Iterator[MixedLoad]:
    """Requests to `web` at these rates from a pod named `load` for the time of the block; a rate of 0 leaves a kind out.

    A program of its own, because a command that `exec` started ends with the agent, and some tests kill that.
    """
    every = {
        "kept": (HTTP_PORT, kept, 8, False),
        "fresh": (TCP_PORT, fresh, 4, True),
        "lasting": (TCP_PORT, lasting, 1, False),
    }
    plan = {kind: each for kind, each in every.items() if each[1]}
    # By its address, because the agent, which some tests kill, is also who resolves names.
    address = mesh.get("services", "web")["spec"]["clusterIP"]
    mesh.run("load", [sys.executable, "-c", _LOAD, address, json.dumps(plan)])
    mesh.log_line("load", "started")
    load = MixedLoad(mesh, mesh.pod("load"))
    yield load
    load.end()
    mesh.delete("Deployment", "load")
    until(lambda: all(each["pod"] != load.pod for each in mesh.mesh.agent("GET", "/v1/status")["proxies"]), "the end of the load's pod")
