"""The demo's own mesh, through the same sockets as every command."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode

from hauberk.demo import objects
from hauberk.kit.places import Places
from hauberk.kit.unix_http import UnixHttp
from hauberk.linux.packet import receive_packet, send_packet

Document = dict[str, Any]
_LOOK = 0.1  # seconds between two looks at something that is awaited


class DemoFailed(Exception):
    """The demo cannot go on, and why."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ran inside a pod: its exit code and what it printed."""

    code: int
    output: str
    errors: str


class DemoMesh:
    """A running mesh with the shop in it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._api = UnixHttp(places.api_socket)
        self._agent = UnixHttp(places.agent_socket)

    def apply(self, *files: str, wait: float | None = None) -> Document:
        """Apply files of the shop; DemoFailed if the mesh refuses them."""
        body = {"files": [objects.manifest(name) for name in files], "namespace": objects.NAMESPACE, "dryRun": False, "wait": wait}
        return self._accepted(*self._api.request("POST", "/v1/apply", json=body, timeout=30.0 + (wait or 0.0)))

    def listed(self, plural: str) -> list[Document]:
        """The shop's objects of a kind."""
        answer = self._accepted(*self._api.request("GET", f"/v1/objects/{plural}?namespace={objects.NAMESPACE}"))
        found: list[Document] = answer["items"]
        return found

    def pod(self, app: str) -> Document:
        """A ready pod of an app of the shop."""
        for pod in self.listed("pods"):
            if pod["metadata"].get("labels", {}).get("app") == app and is_ready(pod):
                return pod
        raise DemoFailed(f"no pod of {app} is ready")

    def status(self) -> Document:
        """The agent's view: pods, sidecars, certificates."""
        return self._accepted(*self._agent.request("GET", "/v1/status"))

    def logs(self, pod: Document) -> str:
        """What the program of a pod has printed so far."""
        _, answer = self._agent.request("GET", f"/v1/pods/{objects.NAMESPACE}/{pod['metadata']['name']}/logs")
        return str(answer or "")

    def records(self, **query: str) -> list[Document]:
        """Access records that match."""
        return [json.loads(line) for line in self._agent.stream_lines("/v1/access?" + urlencode(query), timeout=30.0) if line.strip()]

    def follow(self) -> Iterator[Document]:
        """Access records as they are made, until the agent ends."""
        for line in self._agent.stream_lines("/v1/access?follow=true&limit=1"):
            if line.strip():
                yield json.loads(line)

    def awaited_records(self, request_id: str, reporters: int, patience: float = 15.0) -> list[Document]:
        """The records of one request, once as many sides have reported it; what there is when patience ends."""
        deadline = time.monotonic() + patience
        while True:
            found = self.records(requestId=request_id)
            if len({record["reporter"] for record in found}) >= reporters or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK)

    def wait_ready(self, patience: float, tell: Callable[[str], None] | None = None) -> None:
        """Every deployment of the shop has its replicas ready; DemoFailed with what is missing if it takes too long."""
        wanted, deadline, told = dict(objects.deployments()), time.monotonic() + patience, ""
        while True:
            ready = {
                each["metadata"]["name"]: int((each.get("status") or {}).get("readyReplicas") or 0) for each in self.listed("deployments")
            }
            missing = sorted(name for name, replicas in wanted.items() if ready.get(name, 0) < replicas)
            if not missing:
                return
            state = f"{sum(ready.values())} of {sum(wanted.values())} pods are ready"
            if tell is not None and state != told:
                tell(state)
                told = state
            if time.monotonic() > deadline:
                raise DemoFailed(f"not ready within {patience:g} s: {', '.join(missing)}; {self._reasons()}")
            time.sleep(_LOOK)

    def execute(self, pod: Document, argv: Sequence[str]) -> Ran:
        """Run a command inside a pod to its end."""
        started = self.start(pod, argv)
        return started.result()

    def start(self, pod: Document, argv: Sequence[str]) -> Session:
        """Begin a command inside a pod."""
        return Session(self.places, pod, argv)

    def _reasons(self) -> str:
        told = []
        for pod in self.listed("pods"):
            for status in (pod.get("status") or {}).get("containerStatuses") or []:
                waiting = (status.get("state") or {}).get("waiting")
                if waiting:
                    told.append(f"{pod['metadata']['name']}: {waiting.get('reason')} {waiting.get('message') or ''}".strip())
        return "; ".join(told) or "see its logs"

    @staticmethod
    def _accepted(status: int, answer: Any) -> Document:
        if status >= 400 or not isinstance(answer, dict):
            problems = answer.get("problems", []) if isinstance(answer, dict) else []
            told = "; ".join(str(problem.get("message")) for problem in problems if problem.get("severity") == "error")
            raise DemoFailed(told or f"the mesh answered with status {status}: {answer}")
        return answer


class Session:
    """A command running inside a pod; its output is read as it comes."""

    def __init__(self, places: Places, pod: Document, argv: Sequence[str]) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(str(places.session_socket))
        readers, writers = zip(*(os.pipe() for _ in range(2)), strict=True)
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 -- a descriptor is wanted, not a file
            message = {"op": "exec", "namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"], "argv": list(argv)}
            send_packet(self._line, {**message, "env": {}, "tty": False}, (nothing.fileno(), *writers))
        for writer in writers:
            os.close(writer)
        self.output, self.errors = (os.fdopen(reader, "rb") for reader in readers)

    def result(self) -> Ran:
        """Wait for its end."""
        told: list[bytes] = []
        # Both streams at once: a command that fills one pipe while we read the other would never end.
        reading = threading.Thread(target=lambda: told.append(self.errors.read()), daemon=True)
        reading.start()
        output = _all(self.output)
        reading.join()
        packet = receive_packet(self._line)
        self._line.close()
        self.errors.close()
        if packet is None:
            raise DemoFailed("the agent ended in the middle of a session")
        answer, _ = packet
        if "error" in answer:
            raise DemoFailed(str(answer["error"]))
        return Ran(int(answer["exit"]), output.decode("utf-8", "replace"), told[0].decode("utf-8", "replace"))


def _all(stream: BinaryIO) -> bytes:
    with stream:
        return stream.read()


def is_ready(pod: Document) -> bool:
    """The pod takes traffic and is not about to end."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
