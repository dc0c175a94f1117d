"""A constant load from inside a pod: requests at a fixed rate on connections that stay open, every failure counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hauberk.testing.namespace import MeshNamespace

# Begins at once, ends at SIGUSR1, says in its log what came of it; a hundred thousand requests at most whatever happens.
_LOAD = """
import http.client, json, signal, sys, threading, time
host, port, rate, workers = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
done = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: done.set())
failures, total, lock = [], [0], threading.Lock()
def work(number):
    line = http.client.HTTPConnection(host, port, timeout=20)
    turn = time.monotonic() + number / rate
    for _ in range(100000 // workers):
        if done.is_set():
            return
        time.sleep(max(0.0, turn - time.monotonic()))
        turn = max(turn + workers / rate, time.monotonic() - 1)
        try:
            line.request("GET", "/")
            answer = line.getresponse()
            body = answer.read()
            failed = None if answer.status == 200 else f"{answer.status} {body[:200]!r}"
        except (OSError, http.client.HTTPException) as error:
            failed = f"{type(error).__name__}: {error}"
            line.close()
        with lock:
            total[0] += 1
            if failed:
                failures.append([time.time(), failed])
threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(workers)]
for thread in threads:
    thread.start()
while total[0] < workers:
    time.sleep(0.01)
print("started", flush=True)
done.wait()
for thread in threads:
    thread.join(30)
print(json.dumps({"total": total[0], "failures": failures[:20], "failed": len(failures)}), flush=True)
signal.pause()
"""


@dataclass
class Load:
    """What came of it; filled when the block ends."""

    total: int = 0
    failed: int = 0
    failures: list[Any] = field(default_factory=list)


@contextmanager
def constant_load(mesh: MeshNamespace, to: str, *, rate: int = 500, workers: int = 8) -> Iterator[Load]:
    """Requests to `to` (host:port) from a pod named `load` for the time of the block, which begins when the first have been answered.

    A program of its own, because a command that `exec` started ends with the agent, and some tests kill that.
    """
    host, _, port = to.partition(":")
    mesh.run("load", [sys.executable, "-c", _LOAD, host, port, str(rate), str(workers)])
    mesh.log_line("load", "started")
    load = Load()
    yield load
    mesh.exec("load", sys.executable, "-c", "import os, signal; os.kill(1, signal.SIGUSR1)").check()
    found = json.loads(mesh.log_line("load", '"total"'))
    load.total, load.failed, load.failures = found["total"], found["failed"], found["failures"]
