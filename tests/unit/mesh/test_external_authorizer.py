from typing import Any

import pytest

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.mesh_config import MeshConfig
from hauberk.api.metadata import ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.service import Service
from hauberk.mesh.external_authorizer import Authorizer, NoAuthorizer, chosen_authorizer, find_authorizers, own_port
from hauberk.mesh.service import MeshService, build_service
from hauberk.mesh.workload import build_workload

AUTHZ = ObjectKey("Service", "shop", "authz")


def services() -> dict[ObjectKey, MeshService]:
    spec = {"clusterIP": "10.96.0.1", "selector": {"app": "authz"}, "ports": [{"port": 9000, "targetPort": "check"}]}
    return {
        AUTHZ: build_service(Service.model_validate({"metadata": {"name": "authz", "namespace": "shop"}, "spec": spec}), "cluster.local")
    }


def find(service: str, port: int = 9000, kind: str = "envoyExtAuthzGrpc") -> Authorizer | NoAuthorizer:
    config = MeshConfig.model_validate({"extensionProviders": [{"name": "p", kind: {"service": service, "port": port}}]})
    return find_authorizers(config, services(), "cluster.local")["p"]


@pytest.mark.parametrize(
    "name",
    [
        *("authz.shop.svc.cluster.local", "authz.shop.svc", "authz.shop", "AUTHZ.shop.svc.cluster.local.", "shop/authz"),
        "shop/authz.shop.svc.cluster.local",
    ],
)
def test_a_service_of_the_mesh_is_found_by_every_name_of_it(name: str) -> None:
    found = find(name)
    assert isinstance(found, Authorizer)
    assert (found.host, found.port and found.port.port) == ("authz.shop.svc.cluster.local", 9000)


@pytest.mark.parametrize("name", ["10.0.0.7", "fd00::7", "authz.example.com"])
def test_what_is_no_name_of_the_mesh_is_outside(name: str) -> None:
    found = find(name)
    assert isinstance(found, Authorizer)
    assert (found.host, found.service) == (name, None)


@pytest.mark.parametrize(
    ("name", "port", "why"),
    [
        ("authz.shop.svc.cluster.local", 1, "has no port 1"),
        *((name, 9000, "there is no service") for name in ("gone.shop.svc.cluster.local", "bank/authz.shop.svc.cluster.local", "authz")),
    ],
)
def test_nobody_is_asked_in_the_place_of_a_service_that_is_not_there(name: str, port: int, why: str) -> None:
    found = find(name, port)
    assert isinstance(found, NoAuthorizer)
    assert why in found.why


def test_the_first_provider_of_a_name_counts() -> None:
    providers = [{"name": "p", "envoyExtAuthzGrpc": {"service": f"authz{n}.example", "port": 1}} for n in range(2)]
    found = find_authorizers(MeshConfig.model_validate({"extensionProviders": providers}), {}, "cluster.local")["p"]
    assert isinstance(found, Authorizer)
    assert found.host == "authz0.example"


def policy(provider: str, action: str = "CUSTOM", **annotations: str) -> AuthorizationPolicy:
    spec: dict[str, Any] = {"action": action, "rules": [{}]}
    if action == "CUSTOM":
        spec["provider"] = {"name": provider}
    return AuthorizationPolicy.model_validate({"metadata": {"name": "p", "namespace": "shop", "annotations": annotations}, "spec": spec})


def test_the_policies_of_a_workload_ask_one_provider_or_none() -> None:
    known = find_authorizers(
        MeshConfig.model_validate({"extensionProviders": [{"name": "a", "envoyExtAuthzGrpc": {"service": "a.example", "port": 1}}]}),
        {},
        "cluster.local",
    )
    assert chosen_authorizer([policy("", "DENY")], known) is None
    assert chosen_authorizer([policy("a"), policy("a")], known) is known["a"]
    two, unknown = chosen_authorizer([policy("a"), policy("b")], known), chosen_authorizer([policy("b")], known)
    assert isinstance(two, NoAuthorizer)
    assert isinstance(unknown, NoAuthorizer)
    assert "a, b" in two.why
    assert "no extension provider b" in unknown.why


def test_a_policy_on_trial_asks_nobody() -> None:
    assert chosen_authorizer([policy("a", **{"istio.io/dry-run": "true"})], {}) is None


def test_a_workload_that_is_the_authorizer_is_known_by_its_port() -> None:
    found = find("authz.shop")
    assert isinstance(found, Authorizer)
    container = {"name": "c", "command": ["x"], "ports": [{"name": "check", "containerPort": 9090}]}
    for labels, expected in (({"app": "authz"}, 9090), ({"app": "web"}, None)):
        document = {"metadata": {"name": "p", "namespace": "shop", "labels": labels}, "spec": {"containers": [container]}}
        assert own_port(found, build_workload(Pod.model_validate(document))) == expected
