from datetime import UTC, datetime
from typing import Any

from hauberk.api.deployment import Deployment
from hauberk.api.metadata import ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.api.service import Service
from hauberk.mesh.rate_limit import build_rate_limits, selected_rate_limits
from hauberk.mesh.service import build_service
from hauberk.mesh.workload import Workload, build_workload

ROOT = "istio-system"


def policy(name: str, namespace: str = "shop", year: int = 2026, **spec: Any) -> RateLimitPolicy:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": datetime(year, 1, 1, tzinfo=UTC)}
    limits = [{"name": "all", "requests": 1, "per": "second"}]
    return RateLimitPolicy.model_validate({"metadata": metadata, "spec": {"limits": limits, **spec}})


def workload(namespace: str = "shop", **labels: str) -> Workload:
    return build_workload(
        Pod.model_validate(
            {"metadata": {"name": "p", "namespace": namespace, "labels": labels}, "spec": {"containers": [{"name": "c", "command": ["x"]}]}}
        )
    )


def deployment(name: str, **labels: str) -> Deployment:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "command": ["x"]}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return Deployment.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


def service(name: str, **selector: str) -> Service:
    spec = {"clusterIP": "10.96.0.1", "selector": selector, "ports": [{"port": 80}]}
    return Service.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


def chosen(of: Workload, *objects: RateLimitPolicy | Deployment, services: tuple[Service, ...] = ()) -> list[str]:
    known = {ObjectKey("Service", "shop", each.metadata.name): build_service(each, "cluster.local") for each in services}
    return [each.metadata.name for each in selected_rate_limits(of, build_rate_limits(ROOT, known, *objects))]


def test_without_selector_all_of_the_namespace_is_bounded() -> None:
    assert chosen(workload(app="web"), policy("all"), policy("elsewhere", "bank")) == ["all"]


def test_a_selector_chooses_by_labels() -> None:
    made = policy("web", selector={"matchLabels": {"app": "web"}})
    assert chosen(workload(app="web", version="1"), made) == ["web"]
    assert chosen(workload(app="api"), made) == []


def test_policies_of_the_root_namespace_bound_every_namespace() -> None:
    everywhere = policy("everywhere", ROOT)
    assert chosen(workload("bank"), everywhere, policy("own", "bank", 2027)) == ["everywhere", "own"]
    assert chosen(workload(ROOT), everywhere) == ["everywhere"]


def test_targets_mean_the_pods_of_a_service_or_of_a_deployment() -> None:
    by_service = policy("service", targetRefs=[{"kind": "Service", "name": "web"}])
    by_deployment = policy("deployment", targetRefs=[{"group": "apps", "kind": "Deployment", "name": "api"}])
    known = (service("web", app="web"), service("free"))
    objects = (by_service, by_deployment, deployment("api", app="api"), policy("free", targetRefs=[{"kind": "Service", "name": "free"}]))
    assert chosen(workload(app="web"), *objects, services=known) == ["service"]
    assert chosen(workload(app="api"), *objects, services=known) == ["deployment"]


def test_a_target_that_is_not_there_bounds_nobody() -> None:
    assert chosen(workload(app="web"), policy("gone", targetRefs=[{"kind": "Service", "name": "gone"}])) == []


def test_the_oldest_comes_first() -> None:
    assert chosen(workload(), policy("young", year=2026), policy("old", year=2025)) == ["old", "young"]
