from __future__ import annotations

import random
from typing import Any

from tests.unit.mesh.mesh_objects import policy

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.pod import Pod
from hauberk.mesh.authorization import build_authorization_policies, selected_policies
from hauberk.mesh.workload import Workload, build_workload

LABELS = [{"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}, {"tier": "x"}, {}]


def workload(namespace: str, labels: dict[str, str]) -> Workload:
    metadata = {"name": "w", "namespace": namespace, "labels": labels}
    return build_workload(Pod.model_validate({"metadata": metadata, "spec": {"containers": [{"name": "c", "command": ["x"]}]}}))


def selecting(name: str, namespace: str, labels: dict[str, str], **spec: Any) -> AuthorizationPolicy:
    selector = {"selector": {"matchLabels": labels}} if labels else {}
    document = {"metadata": {"name": name, "namespace": namespace}, "spec": {**selector, **spec}}
    return AuthorizationPolicy.model_validate(document)


def test_who_is_selected_does_not_depend_on_how_it_is_looked_up() -> None:
    chance = random.Random(1)
    policies = [selecting(f"p{n:02}", chance.choice(["shop", "bank", "root"]), chance.choice(LABELS)) for n in range(40)]
    chance.shuffle(policies)
    index = build_authorization_policies("root", *policies)
    for namespace in ("shop", "bank", "empty"):
        for labels in LABELS:
            there = [each for each in policies if each.metadata.namespace in (namespace, "root") and each.spec.selector.matches(labels)]
            wanted = sorted(there, key=lambda each: (each.metadata.name, each.metadata.namespace))
            assert list(selected_policies(workload(namespace, labels), index)) == wanted


def test_a_policy_with_a_target_is_for_gateways_and_no_sidecar_enforces_it() -> None:
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
    index = build_authorization_policies("root", selecting("edge", "shop", {}, targetRefs=[target]), policy("mine"))
    assert [each.metadata.name for each in selected_policies(workload("shop", {}), index)] == ["mine"]
