"""What policies cost: a request, by how many rules there are, and the control plane, when one of a thousand policies changes.

One Envoy answers by itself, under the rules that the translation makes of a policy, to a caller whose identity it is told: all that
differs between the rows is what the policies ask.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import any_pb2, json_format

from bench import program
from bench.hand_made import typed
from bench.line import Line, absent, typical
from bench.processes import cpu_seconds
from bench.scale import Scale
from bench.traffic import read_wrk
from hauberk.api.authorization_policy import DRY_RUN, AuthorizationPolicy
from hauberk.api.metadata import ApiObject
from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodIP, PodStatus
from hauberk.envoy.binary import find_envoy
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.policy.ruleset import Paths
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.one_identity import NAMES_STATE
from hauberk.translate.proxy import translate_own
from hauberk.translate.rbac import AUDIT, DECISION, HttpRules

GROUP = "policies"
ADDED_TARGET = 10.0  # microseconds
COMPILE_TARGET = 50.0  # milliseconds
NONE, ONE, MANY = "no policy", "a rule of one principal and one path", "a rule of 1,000 principals and 20 paths"
_NAMESPACE = "bench"
_CALLER = "cluster.local/ns/bench/sa/client-999"
_PATH = "/api/resource-19"
_FIRST_PORT = 18700
_CONNECTIONS = 8
_WORKLOADS, _EACH = 100, 10

Document = dict[str, Any]


def measure(scale: Scale) -> Iterator[Line]:
    """Needs wrk for requests."""
    yield from _compiling(scale)
    if not program.found("wrk"):
        yield absent(GROUP, "requests under policies", "wrk not installed")
        return
    with _envoy(_kinds()) as (process, ports):
        samples: dict[str, list[float]] = {kind: [] for kind in ports}
        for port in ports.values():
            _burst(process, port, 1)
        for number in range(scale.rounds):
            order = list(ports.items())
            for kind, port in order if number % 2 == 0 else reversed(order):
                samples[kind].append(_burst(process, port, max(1, scale.burst_seconds // 2)))
            scale.tell(f"round {number + 1} of {scale.rounds}: " + ", ".join(f"{each[-1]:.1f}" for each in samples.values()))
    yield typical(GROUP, f"CPU per request: {NONE}", "µs", samples[NONE], note="one Envoy that answers itself")
    for kind, values in samples.items():
        if kind != NONE:
            yield typical(GROUP, f"added by {kind}", "µs", _differences(values, samples[NONE]))
    many = _differences(samples[MANY], samples[ONE])
    yield typical(GROUP, f"added by {MANY}, against {ONE}", "µs", many, target=ADDED_TARGET)


def _differences(values: Iterable[float], others: Iterable[float]) -> list[float]:
    return [one - other for one, other in zip(values, others, strict=True)]


# --- requests


def _kinds() -> Mapping[str, list[AuthorizationPolicy]]:
    principals = [f"cluster.local/ns/bench/sa/client-{number}" for number in range(1000)]
    paths = [f"/api/resource-{number}" for number in range(20)]
    return {
        NONE: [],
        ONE: [_policy(0, **_from([_CALLER]), **_to([_PATH]))],
        MANY: [_policy(0, **_from(principals), **_to(paths))],
        "a rule, and another in dry-run": [_policy(0, **_from([_CALLER]), **_to([_PATH])), _in_dry_run(_policy(1, **_to(["/other"])))],
        "1,000 policies of one principal": [_policy(number, **_from([each])) for number, each in enumerate(principals)],
        "1,000 policies of one principal and 20 paths": [_policy(n, **_from([each]), **_to(paths)) for n, each in enumerate(principals)],
        "1,000 policies of one path": [_policy(number, **_to([f"/api/resource-{number}*"])) for number in range(1000)],
        "1,000 policies of one namespace": [_policy(number, **_from_namespace(number)) for number in range(1000)],
    }


def _from_namespace(number: int) -> Document:
    name = _NAMESPACE if _CALLER.endswith(f"-{number}") else f"namespace-{number}"
    return {"from": [{"source": {"namespaces": [name]}}]}


def _from(principals: list[str]) -> Document:
    return {"from": [{"source": {"principals": principals}}]}


def _to(paths: list[str]) -> Document:
    return {"to": [{"operation": {"paths": paths}}]}


def _policy(number: int, app: str = "", **rule: Any) -> AuthorizationPolicy:
    metadata = {"name": f"policy-{number:04}", "namespace": _NAMESPACE}
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return AuthorizationPolicy.model_validate({"metadata": metadata, "spec": {"action": "ALLOW", "rules": [rule], **selector}})


def _in_dry_run(policy: AuthorizationPolicy) -> AuthorizationPolicy:
    return policy.model_copy(update={"metadata": policy.metadata.model_copy(update={"annotations": {DRY_RUN: "true"}})})


@contextmanager
def _envoy(kinds: Mapping[str, list[AuthorizationPolicy]]) -> Iterator[tuple[int, Mapping[str, int]]]:
    """Its process, and the port on which each kind of policies is asked."""
    ports = {kind: _FIRST_PORT + number for number, kind in enumerate(kinds)}
    rules = {kind: HttpRules(policies, TrustDomains(), Paths()).at(None) for kind, policies in kinds.items()}
    listeners = [_listener(ports[kind], told) for kind, told in rules.items()]
    runtime = {"layers": [{"name": "sizes", "static_layer": {"re2.max_program_size.error_level": 32768}}]}
    with tempfile.TemporaryDirectory(prefix="hauberk-bench-") as name:
        file = Path(name) / "envoy.json"
        file.write_text(json.dumps({"static_resources": {"listeners": listeners}, "layered_runtime": runtime}))
        command = [str(find_envoy()), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as envoy:
            try:
                for port in ports.values():
                    _await(port)
                yield envoy.pid, ports
            finally:
                envoy.kill()


def _listener(port: int, rules: Mapping[str, any_pb2.Any]) -> Document:
    told = {name: json_format.MessageToDict(each, preserving_proto_field_name=True) for name, each in rules.items()}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": program.BODY}}}
    rbac = typed("envoy.extensions.filters.http.rbac.v3.RBAC")
    filters = [{"name": name, "disabled": True, "typed_config": rbac} for name in (AUDIT, DECISION)]
    filters.append({"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")})
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        generate_request_id=False,
        normalize_path=True,
        http_filters=filters,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}], "typed_per_filter_config": told},
    )
    caller = {"object_key": NAMES_STATE, "factory_key": "envoy.string", "format_string": _text(f"spiffe://{_CALLER}")}
    state = typed("envoy.extensions.filters.network.set_filter_state.v3.Config", on_new_connection=[caller])
    chain = {"filters": [{"name": "caller", "typed_config": state}, {"name": "http", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": str(port), "address": address, "filter_chains": [chain]}


def _text(text: str) -> Document:
    return {"text_format_source": {"inline_string": text}}


def _burst(process: int, port: int, seconds: int) -> float:
    """Microseconds of Envoy per request."""
    before = cpu_seconds((process,))
    command = (program.found("wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}{_PATH}")
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return (cpu_seconds((process,)) - before) / read_wrk(printed)[0] * 1e6


def _await(port: int) -> None:
    command = (program.found("wrk"), "-t1", "-c1", "-d1s", f"http://127.0.0.1:{port}{_PATH}")
    for _ in range(30):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if "requests in" in done.stdout and "Non-2xx" not in done.stdout and " 0 requests" not in done.stdout:
            return
        time.sleep(0.1)
    raise RuntimeError(f"no answer on port {port}: {done.stdout} {done.stderr}")


# --- the control plane


@dataclass(frozen=True, slots=True)
class _Compiled:
    milliseconds: float
    renewed: int


def _compiling(scale: Scale) -> Iterator[Line]:
    pods = [_pod(number) for number in range(_WORKLOADS)]
    policies = [_own(number) for number in range(_WORKLOADS * _EACH)]
    objects: dict[Any, ApiObject] = {each.key: each for each in (*pods, *policies)}
    snapshot = build_snapshot(objects.values(), None)
    _translate(snapshot)
    found = []
    for number in range(scale.repeats):
        changed = _own(number, path=f"/changed-{number}")
        objects[changed.key] = changed
        snapshot, compiled = _change(snapshot, objects.values())
        found.append(compiled)
        if compiled.renewed != 1:
            raise RuntimeError(f"{compiled.renewed} workloads were compiled, and one was concerned")
    name = f"one of {len(policies):,} policies over {_WORKLOADS} workloads changes: the mesh's new configuration"
    yield typical(GROUP, name, "ms", [each.milliseconds for each in found], target=COMPILE_TARGET, note="one workload is compiled")


def _change(before: MeshSnapshot, objects: Iterable[ApiObject]) -> tuple[MeshSnapshot, _Compiled]:
    old = _translate(before)
    began = time.perf_counter()
    after = build_snapshot(objects, before)
    new = _translate(after)
    taken = time.perf_counter() - began
    return after, _Compiled(taken * 1e3, sum(new[key] is not old[key] for key in new))


def _translate(snapshot: MeshSnapshot) -> dict[Any, Any]:
    return {key: translate_own(snapshot, key) for key in snapshot.inbound}


def _own(number: int, path: str = "/api") -> AuthorizationPolicy:
    caller = f"cluster.local/ns/bench/sa/client-{number}"
    return _policy(number, app=f"workload-{number % _WORKLOADS}", **_from([caller]), **_to([f"{path}/{number}/*"]))


def _pod(number: int) -> Pod:
    labels = {"app": f"workload-{number}"}
    status = PodStatus(phase="Running", pod_ip=f"10.0.0.{number}", pod_ips=(PodIP(ip=f"10.0.0.{number}"),))
    metadata = {"name": f"workload-{number}", "namespace": _NAMESPACE, "labels": labels}
    spec = {"containers": [{"name": "main", "command": ["program"]}]}
    return Pod.model_validate({"metadata": metadata, "spec": spec, "status": status})
