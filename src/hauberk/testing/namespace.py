"""`MeshNamespace`: what a test does with a mesh, in a namespace of its own."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hauberk.cli import session
from hauberk.cli.failure import Failure
from hauberk.cli.program import Program, documents, inherited, parse_port
from hauberk.kit.unix_http import UnixHttp
from hauberk.testing.answer import Completed, MeshFailed, Response
from hauberk.testing.request import caller_command, read_response
from hauberk.testing.running import Running
from hauberk.testing.waiting import pods_ready

if TYPE_CHECKING:
    from hauberk.testing.mesh import Mesh

_PATIENCE = 60.0  # seconds until waiting for pods, proxies or records is given up

Document = dict[str, Any]


class MeshNamespace:
    """One namespace of a running mesh; names without a namespace mean this one."""

    def __init__(self, mesh: Mesh, name: str) -> None:
        self.mesh = mesh
        self.name = name

    def apply(self, yaml: str, *, wait: float = _PATIENCE) -> Document:
        """The objects of `yaml` hold at every proxy they concern; the result is that of `hauberk apply -o json`."""
        body = {"files": [{"name": "<test>", "text": yaml}], "namespace": self.name, "wait": wait}
        answer: Document = self.mesh.api("POST", "/v1/apply", body, timeout=wait + 30)
        return answer

    def delete(self, kind: str, *names: str, wait: float = _PATIENCE) -> None:
        """The objects are gone, and every proxy knows it."""
        self.mesh.api("POST", "/v1/delete", {"kind": kind, "names": list(names), "namespace": self.name, "wait": wait}, timeout=wait + 30)

    def get(self, plural: str, name: str) -> Document:
        """An object as `hauberk get -o json` shows it."""
        found: Document = self.mesh.api("GET", f"/v1/objects/{plural}/{self.name}/{name}")
        return found

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int | str | Sequence[int | str] = (),
        service_account: str = "",
        replicas: int = 1,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        inject: bool = True,
        directory: str | None = None,
        wait: bool = True,
    ) -> None:
        """The program runs and is ready: a Deployment, a ServiceAccount, and a Service if it has ports (`8080` or `"grpc:9090"`).

        Without `wait` it only has been declared; `ready` waits for several at once, which is quicker.
        """
        program = Program(
            name=name,
            namespace=self.name,
            argv=tuple(command),
            directory=directory or os.getcwd(),  # noqa: PTH109 - a string is what the object holds
            ports=tuple(parse_port(str(each)) for each in ((port,) if isinstance(port, int | str) else port)),
            service_account=service_account,
            replicas=replicas,
            labels=labels or {},
            environment={**inherited(os.environ), **(env or {})},
            inject=inject,
        )
        self.apply("\n---\n".join(json.dumps(document) for document in documents(program)))
        if wait:
            pods_ready(self.mesh, self.name, name, replicas, _PATIENCE)

    def ready(self, *names: str, count: int = 1, timeout: float = _PATIENCE) -> None:
        """`count` pods of each name (their label `app`) are ready; MeshFailed with their states if that does not come."""
        for name in names:
            pods_ready(self.mesh, self.name, name, count, timeout)

    def exec(self, target: str, *command: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Completed:
        """The command has run in the first ready pod of `target` (a pod, or the name given to `run`), as its program's user."""
        message = {
            "op": "exec",
            "namespace": self.name,
            "pod": self.pod(target),
            "argv": list(command),
            "env": dict(env or {}),
            "tty": False,
        }
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            try:
                answer, _ = session.ask(self.mesh.places, message, (given.fileno(), out.fileno(), err.fileno()))
            except Failure as failure:
                raise MeshFailed("\n".join(failure.lines())) from failure
            out.seek(0)
            err.seek(0)
            return Completed(int(answer["exit"]), out.read().decode(errors="replace"), err.read().decode(errors="replace"))

    def spawn(self, target: str, *command: str, env: Mapping[str, str] | None = None) -> Running:
        """The command runs in the first ready pod of `target` while the test goes on; use it as a context manager."""
        return Running(self.mesh.places, self._session(target, command, env))

    def request(
        self,
        source: str,
        to: str,
        method: str = "GET",
        path: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float = 10.0,
    ) -> Response:
        """The answer to a request that a program in the pod `source` made to `to` (`web`, `web.shop:8080`).

        ConnectionFailed if it got none. A status of 403 is an answer like any other.
        """
        command = caller_command(sys.executable, to, method, path, headers=headers or {}, body=body, timeout=timeout)
        return read_response(to, self.exec(source, *command))

    def records(
        self,
        *,
        at_least: int = 0,
        timeout: float = _PATIENCE,
        source: str = "",
        to: str = "",
        denied: bool = False,
        request_id: str = "",
        where: Callable[[Document], bool] | None = None,
    ) -> list[Document]:
        """Access records of this namespace's pods (those `where` it holds), newest last; waits until there are `at_least` so many."""
        asked = {"from": source, "to": to, "requestId": request_id, "denied": "true" if denied else "", "limit": "1000"}
        query = urlencode({name: value for name, value in asked.items() if value})
        followed = UnixHttp(self.mesh.places.agent_socket).stream_lines(f"/v1/access?follow=true&{query}", timeout=timeout)
        found: list[Document] = []
        for line in followed if at_least else ():
            record = json.loads(line)
            if self._concerns(record) and (where is None or where(record)):
                found.append(record)
            if len(found) >= at_least:
                return found
        text = self.mesh.agent("GET", f"/v1/access?{query}")
        lines = text.splitlines() if isinstance(text, str) else []
        return [each for each in map(json.loads, lines) if self._concerns(each) and (where is None or where(each))]

    def log_line(self, target: str, text: str, *, timeout: float = _PATIENCE) -> str:
        """The first line that holds `text` in the log of `target`'s program, as soon as it is written."""
        path = f"/v1/pods/{self.name}/{self.pod(target)}/logs?follow=true"
        for line in UnixHttp(self.mesh.places.agent_socket).stream_lines(path, timeout=timeout):
            if text in line:
                return line
        raise MeshFailed(f"{text!r} is not in the log of {target}")

    def log(self, target: str, *, previous: bool = False) -> str:
        """What the program of `target` has printed so far, or had printed before it was last restarted."""
        pod = self.pod(target)
        return str(self.mesh.agent("GET", f"/v1/pods/{self.name}/{pod}/logs{'?previous=true' if previous else ''}") or "")

    def pod(self, target: str) -> str:
        """The name of the first ready pod of `target`."""
        listed = self.mesh.api("GET", f"/v1/objects/pods?{urlencode({'namespace': self.name})}")
        for pod in listed["items"]:
            metadata = pod["metadata"]
            ready = any(each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", ()))
            if metadata["name"] == target or (ready and metadata.get("labels", {}).get("app") == target):
                return str(metadata["name"])
        raise MeshFailed(f"no ready pod of {target!r} in namespace {self.name!r}")

    def clear(self) -> None:
        """No object of a test remains in the namespace, and its pods have ended."""
        for plural, kind in _CLEARED:
            items = self.mesh.api("GET", f"/v1/objects/{plural}?{urlencode({'namespace': self.name})}")["items"]
            names = [item["metadata"]["name"] for item in items if (plural, item["metadata"]["name"]) not in _KEPT]
            if names:
                self.delete(kind, *names)

    def _session(self, target: str, command: Sequence[str], env: Mapping[str, str] | None) -> Document:
        return {"op": "exec", "namespace": self.name, "pod": self.pod(target), "argv": list(command), "env": dict(env or {}), "tty": False}

    def _concerns(self, record: Document) -> bool:
        return self.name in (record.get("source", {}).get("namespace"), record.get("destination", {}).get("namespace"))


# In this order nothing is recreated behind our back, and no pod loses its policy before it ends.
_CLEARED = (
    ("deployments", "Deployment"),
    ("pods", "Pod"),
    ("services", "Service"),
    ("authorizationpolicies", "AuthorizationPolicy"),
    ("peerauthentications", "PeerAuthentication"),
    ("configmaps", "ConfigMap"),
)
_KEPT = (("serviceaccounts", "default"),)
