"""`hauberk test --live`: a mesh of its own with stub programs, the same requests by real sidecars, and nothing of it afterwards."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.cli import lifecycle, session
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.kit.environment import environment
from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.kit.unix_http import NotReachable, UnixHttp
from hauberk.policytest.keys import TestKey
from hauberk.policytest.live import LiveResult, call_of, live_result, obstacle, recorded, request_id
from hauberk.policytest.programs import CALLING
from hauberk.policytest.stage import CallerPod, Stage, build_stage

if TYPE_CHECKING:
    from hauberk.cli.policy_test import Loaded
    from hauberk.policytest.case import Result

MESH = "policy-test"
TRUST_DOMAIN = "HAUBERK_TRUST_DOMAIN"
_RECORDED = 5.0  # seconds until records that have not come are done without
_LOOK = 0.1
_PATIENCE = 90.0  # seconds until all stubs are ready, on a slow machine with two cores
Document = dict[str, Any]


def compare(loaded: Sequence[Loaded], results: Sequence[Result], *, rootless: bool | None) -> list[LiveResult]:
    """What real sidecars did with each case, in order."""
    found: dict[int, LiveResult] = {}
    by_case = {id(each.case): each for each in results}
    groups: dict[int, list[Loaded]] = {}
    for each in loaded:
        groups.setdefault(id(each.manifest), []).append(each)
    for group in groups.values():
        asked = [(each, by_case[id(case)]) for each in group for case in each.file.cases]
        sendable = [(each, result) for each, result in asked if not obstacle(result)]
        if sendable:
            with lifecycle.told_failures(), _mesh(group[0].mesh.snapshot.config.trust_domain, rootless=rootless) as mesh:
                for result in _Live(mesh, sendable).results():
                    found[id(result.case)] = result
    return [found.get(id(each.case)) or LiveResult(case=each.case, skipped=obstacle(each)) for each in results]


@contextmanager
def _mesh(trust_domain: str, *, rootless: bool | None) -> Iterator[Places]:
    """A fresh mesh for the time of the block, in directories of its own: it never meets one that the user has."""
    from hauberk.local import up  # noqa: PLC0415 -- with all that a mesh needs

    # Short, because the paths of Unix sockets are; closed to others but for the way to the Envoys' own directories.
    directory = Path(tempfile.mkdtemp(prefix="hb-"))
    directory.chmod(0o711)
    try:
        with environment({STATE_VARIABLE: f"{directory}/state", RUN_VARIABLE: f"{directory}/run", TRUST_DOMAIN: trust_domain}):
            places = Places(MESH)
            with up.running(places, rootless=rootless, progress=talk):
                yield places
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Live:
    """One mesh with the stubs of one set of objects."""

    def __init__(self, places: Places, asked: Sequence[tuple[Loaded, Result]]) -> None:
        self._places = places
        self._asked = asked
        self._api = UnixHttp(places.api_socket)
        self._key = TestKey(ec.generate_private_key(ec.SECP256R1()))

    def results(self) -> Iterator[LiveResult]:
        """The mesh is set up, and every request has been sent."""
        stage = build_stage(
            self._asked[0][0].manifest.objects, [result.case.question for _, result in self._asked], self._key, sys.executable
        )
        self._prepare(stage)
        pods = self._running(stage.pods)
        now = datetime.now(UTC)
        told: list[tuple[Result, Document]] = []
        for source, caller in stage.callers.items():
            own = [(each, result) for each, result in self._asked if result.case.question.source == source]
            calls = [call_of(result, each.mesh, _where(result, stage, caller, pods), self._key, now) for each, result in own]
            told += zip((result for _, result in own), self._call(caller, calls), strict=True)
        records = self._records({request_id(result) for result, answer in told if recorded(result) and "status" in answer})
        for result, answer in told:
            yield live_result(result, answer, records.get(request_id(result)))

    def _records(self, wanted: set[str]) -> dict[str, Document]:
        """What the destinations' sidecars say of the requests, as soon as all of it is there."""
        agent, deadline = UnixHttp(self._places.agent_socket), time.monotonic() + _RECORDED
        while True:
            lines = agent.stream_lines("/v1/access?" + urlencode({"limit": "10000"}), timeout=_PATIENCE)
            records = [json.loads(line) for line in lines if line.strip()]
            found = {str(each["requestId"]): each for each in records if each["reporter"] == "destination" and each.get("requestId")}
            if wanted <= found.keys() or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK)

    def _prepare(self, stage: Stage) -> None:
        talk(f"starting {stage.pods} stub programs")
        if stage.own_mtls:
            self._accepted(*self._api.request("DELETE", "/v1/objects/pa/istio-system/default"))
        text = "\n---\n".join(json.dumps(each) for each in stage.documents)
        files = [{"name": "<live test>", "text": text}]
        self._accepted(*self._api.request("POST", "/v1/apply", json={"files": files}, timeout=60.0))

    def _running(self, count: int) -> dict[tuple[str, str], str]:
        """The addresses of all pods once every one of them is ready and has what it is to enforce."""
        found: dict[tuple[str, str], str] = {}
        try:
            for line in self._api.stream_lines("/v1/objects/pods?" + urlencode({"watch": "true"}), timeout=_PATIENCE):
                pod = json.loads(line)["object"]
                if _is_ready(pod):
                    found[pod["metadata"]["namespace"], pod["metadata"]["name"]] = pod["status"]["podIP"]
                if len(found) == count:
                    break
        except NotReachable as error:
            raise Failure(f"{len(found)} of {count} stub programs became ready", str(error), "", Exit.TIMED_OUT) from error
        # Nothing more is to change: what an apply of nothing new waits for is that every sidecar knows all of it.
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hauberk-settled"}}
        body = {"files": [{"name": "<live test>", "text": json.dumps(document)}], "wait": 60}
        self._accepted(*self._api.request("POST", "/v1/apply", json=body, timeout=90.0))
        return found

    def _call(self, caller: CallerPod, calls: Sequence[Document]) -> list[Document]:
        message = {"op": "exec", "namespace": caller.namespace, "pod": caller.name, "env": {}, "tty": False}
        message["argv"] = [sys.executable, "-c", CALLING]
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(json.dumps(list(calls)).encode())
            given.seek(0)
            answer, _ = session.ask(self._places, message, (given.fileno(), out.fileno(), err.fileno()))
            out.seek(0)
            err.seek(0)
            told = [json.loads(line) for line in out.read().splitlines() if line.strip()]
            if answer.get("exit") or len(told) != len(calls):
                raise Failure(f"the caller {caller.source or 'without identity'} failed", err.read().decode(errors="replace"))
        return told

    @staticmethod
    def _accepted(status: int, answer: Any) -> Any:
        if status >= 400 and status not in (502, 504):
            problems = answer.get("problems", []) if isinstance(answer, dict) else []
            told = "; ".join(f"{each.get('object')}: {each.get('message')}" for each in problems if each.get("severity") == "error")
            raise Failure("the mesh does not take the objects", told or f"status {status}", "correct them, or leave out --live")
        return answer


def _where(result: Result, stage: Stage, caller: CallerPod, pods: Mapping[tuple[str, str], str]) -> tuple[str, int]:
    """Host and port of the call. Who has no sidecar has nobody who leads a Service's address to a pod: it calls the pod."""
    assert result.explanation is not None
    route, question = result.explanation.route, result.case.question
    if not caller.source and route["workloads"]:
        first = route["workloads"][0]
        return pods[first["namespace"], first["pod"]], first["port"] or 80
    if question.labels:
        return f"{stage.service_of(question)}.{question.namespace or 'default'}", question.port or 80
    return str(route["host"]), int(route["port"] or 80)


def _is_ready(pod: Document) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
