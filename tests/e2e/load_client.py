"""Requests at a steady rate, on connections that are kept and on new ones.

At SIGUSR1 it says how many have been answered so far, at SIGTERM it ends with a count of what succeeded and what did not.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time

HOST, PORT, RATE = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
THREADS = 4
ended = threading.Event()
done: list[float] = []
failed: list[str] = []


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/hello", headers={"host": "server"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or body != b"hello":
        failed.append(f"{answer.status} {body[:80]!r}")
    done.append(time.time())


def work(number: int) -> None:
    kept = http.client.HTTPConnection(HOST, PORT, timeout=10)
    due, count = time.monotonic(), number
    while not ended.is_set():
        due += THREADS / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        count += 1
        fresh = count % 10 == 0
        connection = http.client.HTTPConnection(HOST, PORT, timeout=10) if fresh else kept
        try:
            ask(connection)
        except (OSError, http.client.HTTPException) as error:
            failed.append(f"{type(error).__name__}: {error}")
            connection.close()
        if fresh:
            connection.close()


signal.signal(signal.SIGTERM, lambda *_: ended.set())
# Not by `print`, which the signal may have found at work.
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"%d\n" % len(done)))
threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
print(json.dumps("started"), flush=True)
ended.wait()
for thread in threads:
    thread.join()
print(json.dumps({"done": len(done), "failed": len(failed), "examples": failed[:5], "last": max(done, default=0.0)}), flush=True)
