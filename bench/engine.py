"""How long the engine takes to decide about a request, offline, as `hauberk test` does hundreds of times."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from bench.line import Line, typical
from bench.scale import Scale
from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.decision import Engine, Meshwide
from hauberk.policy.request import Peer, Request, Workload

GROUP = "engine"
TARGET = 50.0  # microseconds: 20,000 decisions a second
_POLICIES, _WORKLOADS = 1000, 100
_DECISIONS = 10_000

Asked = tuple[Request, Peer, Workload]


def measure(scale: Scale) -> Iterator[Line]:
    """Policies of every kind, each on one of many workloads, then all on one."""
    for name, workloads in ((f"over {_WORKLOADS} workloads", _WORKLOADS), ("on one workload", 1)):
        engine = Engine([_policy(number, workloads) for number in range(_POLICIES)], Meshwide())
        taken = [_microseconds(engine, _requests(round_, workloads)) for round_ in range(scale.repeats + 1)]
        # The first round makes the tables.
        note = f"{1e6 / min(taken[1:]):,.0f} in a second at best; the first ones, which make the tables, {taken[0]:.0f} each"
        yield typical(GROUP, f"a decision, {_POLICIES:,} policies {name}", "µs", taken[1:], target=TARGET, note=note)


def _microseconds(engine: Engine, asked: list[Asked]) -> float:
    began = time.process_time()
    for each in asked:
        engine.judge(*each)
    return (time.process_time() - began) / len(asked) * 1e6


def _policy(number: int, workloads: int) -> AuthorizationPolicy:
    callers: list[dict[str, Any]] = [
        {"principals": [f"cluster.local/ns/n{number % 50}/sa/a{number}"]},
        {"namespaces": [f"n{number}"]},
        {"serviceAccounts": [f"n{number % 50}/a{number}"]},
        {"principals": ["*"]},
        {"principals": [f"*/sa/a{number}"]},
    ]
    paths = [f"/t{number}/{{*}}/x"] if number % 10 == 3 else [f"/api/v{number % 7}/r{number}/*", f"/p{number}"]
    rule: dict[str, Any] = {"from": [{"source": callers[number % 5]}], "to": [{"operation": {"paths": paths, "notMethods": ["PUT"]}}]}
    if number % 10 == 4:
        rule["when"] = [{"key": "request.auth.claims[groups]", "values": [f"g{number}"]}]
    selector = {"matchLabels": {"app": f"w{number % workloads}"}}
    spec = {"selector": selector, "action": "DENY" if number % 4 == 0 else "ALLOW", "rules": [rule]}
    return AuthorizationPolicy.model_validate({"metadata": {"name": f"p{number}", "namespace": "shop"}, "spec": spec})


def _requests(round_: int, workloads: int) -> list[Asked]:
    """Requests near to some policy, every path another one."""
    chance = random.Random(round_)
    found: list[Asked] = []
    for serial in range(_DECISIONS):
        number = chance.randrange(_POLICIES)
        paths = (f"/api/v{number % 7}/r{number}/{serial}", f"/p{number}", f"/t{number}/{serial}/x", f"/unknown/{serial}")
        claims = {"groups": [f"g{number}"]} if serial % 2 else None
        request = Request(port=8080, method=chance.choice(("GET", "PUT")), path=chance.choice(paths), host="a.shop", claims=claims)
        workload = Workload(namespace="shop", labels={"app": f"w{number % workloads}"})
        found.append((request, Peer(f"spiffe://cluster.local/ns/n{number % 50}/sa/a{number}"), workload))
    return found
