from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBACPerRoute
from tests.unit.mesh.mesh_objects import key, pod, service
from tests.unit.translate.test_proxy import read

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import ApiObject
from hauberk.envoy.message import encode
from hauberk.envoy.name import BLACK_HOLE
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.translate.external_authorization import BAD, CUSTOM, EXT_AUTHZ
from hauberk.translate.proxy import translate_own, translate_shared

AUTHZ = "authz.shop.svc.cluster.local"
WORLD = (service("web"), pod("web"), service("authz", {"name": "x", "port": 9000}, ips=("10.96.0.9",)), pod("authz", ip="10.244.0.9"))


def custom(provider: str = "p", name: str = "ask", app: str = "web") -> AuthorizationPolicy:
    spec = {"action": "CUSTOM", "provider": {"name": provider}, "rules": [{}], "selector": {"matchLabels": {"app": app}}}
    return AuthorizationPolicy.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


def settings(kind: str = "envoyExtAuthzGrpc", name: str = "p", **fields: Any) -> ConfigMap:
    provider = {"name": name, kind: {"service": AUTHZ, "port": 9000, **fields}}
    data = {"mesh": json.dumps({"extensionProviders": [provider]})}
    return ConfigMap.model_validate({"metadata": {"name": "istio", "namespace": "istio-system"}, "data": data})


def told(*objects: ApiObject, name: str = "web", previous: MeshSnapshot | None = None) -> dict[str, Any]:
    snapshot = build_snapshot([*WORLD, *objects], previous)
    return read((*translate_shared(snapshot, "shop"), *translate_own(snapshot, key("Pod", name))))


def asked(found: dict[str, Any]) -> ExtAuthz:
    made = ExtAuthz()
    assert found[f"TypedExtensionConfig {EXT_AUTHZ}"].typed_config.Unpack(made)
    return made


def route(found: dict[str, Any], port: int = 8080) -> Any:
    return found[f"RouteConfiguration inbound|{port}||"].typed_per_filter_config


def gate(found: dict[str, Any], port: int = 8080) -> bytes:
    made = RBACPerRoute()
    assert route(found, port)[CUSTOM].Unpack(made)
    return encode(made)


def test_the_filter_is_always_configured_and_without_an_authorizer_asks_nobody() -> None:
    found = told()
    assert asked(found).grpc_service.envoy_grpc.cluster_name == BLACK_HOLE
    assert not asked(found).failure_mode_allow
    assert not {CUSTOM, EXT_AUTHZ} & set(route(found))


def test_a_custom_policy_switches_both_filters_on_and_names_the_authorizers_cluster() -> None:
    found = told(custom(), settings())
    assert {CUSTOM, EXT_AUTHZ} <= set(route(found))
    assert b"ns[shop]-policy[ask]-rule[0]" in gate(found)
    cluster = asked(found).grpc_service.envoy_grpc.cluster_name
    assert cluster == f"outbound|9000|authorizer-grpc|{AUTHZ}"
    # Endpoints of its own: Envoy, which knows those of the service already, would not ask for them again.
    assert found[f"Cluster {cluster}"].eds_cluster_config.service_name == ""
    assert found[f"ClusterLoadAssignment {cluster}"].endpoints


def test_an_answer_is_waited_for_a_second_and_a_failure_refuses() -> None:
    made = asked(told(custom(), settings()))
    assert made.grpc_service.timeout.seconds == 1
    assert (made.failure_mode_allow, made.status_on_error.code, made.validate_mutations) == (False, 403, True)


@pytest.mark.parametrize(("status", "code"), [("503", 503), ("418", 403)])
def test_a_status_that_envoy_has_no_word_for_is_403(status: str, code: int) -> None:
    assert asked(told(custom(), settings(statusOnError=status))).status_on_error.code == code


def test_every_field_of_an_http_provider_has_its_place() -> None:
    made = asked(
        told(
            custom(),
            settings(
                "envoyExtAuthzHttp",
                timeout="2s",
                failOpen=True,
                clearRouteCache=True,
                pathPrefix="/check",
                includeRequestHeadersInCheck=["x-a", "x-b*"],
                includeHeadersInCheck=["*-c"],
                includeAdditionalHeadersInCheck={"x-add": "100%"},
                includeRequestBodyInCheck={"maxRequestBytes": 7, "allowPartialMessage": True},
                headersToUpstreamOnAllow=["x-up"],
                headersToDownstreamOnDeny=["x-no"],
                headersToDownstreamOnAllow=["x-yes"],
            ),
        )
    )
    http = made.http_service
    assert (http.server_uri.uri, http.server_uri.timeout.seconds, http.path_prefix) == (f"http://{AUTHZ}:9000", 2, "/check")
    assert [each.WhichOneof("match_pattern") for each in made.allowed_headers.patterns] == ["exact", "prefix", "suffix"]
    assert [(each.key, each.value) for each in http.authorization_request.headers_to_add] == [("x-add", "100%%")]
    response = http.authorization_response
    lists = (response.allowed_upstream_headers, response.allowed_client_headers, response.allowed_client_headers_on_success)
    assert [each.patterns[0].exact for each in lists] == ["x-up", "x-no", "x-yes"]
    assert (made.with_request_body.max_request_bytes, made.with_request_body.allow_partial_message) == (7, True)
    assert (made.failure_mode_allow, made.clear_route_cache) == (True, True)


def test_where_nobody_can_be_asked_the_first_filter_denies_and_the_second_is_not_switched_on() -> None:
    for objects in ((custom("unknown"),), (custom(), custom("other", "second"), settings())):
        found = told(*objects)
        assert EXT_AUTHZ not in route(found)
        assert f"rule[0]{BAD}".encode() in gate(found)


def test_an_authorizer_does_not_ask_itself_on_its_own_port() -> None:
    other = {"name": "http", "port": 80, "targetPort": 8080}
    world = service("authz", {"name": "x", "port": 9000}, other, ips=("10.96.0.9",))
    found = told(world, custom(app="authz"), settings(), name="authz")
    assert BAD.encode() in gate(found, 9000)
    assert EXT_AUTHZ not in route(found, 9000)
    assert BAD.encode() not in gate(found, 8080)


def test_a_host_outside_is_reached_by_its_name_and_keeps_no_sidecar_from_starting() -> None:
    found = told(custom(), settings(service="authz.example.com"))
    cluster = found[f"Cluster {asked(found).grpc_service.envoy_grpc.cluster_name}"]
    assert cluster.type == Cluster.DiscoveryType.STRICT_DNS
    assert not cluster.wait_for_warm_on_init.value
    by_address = told(custom(), settings(service="fd00::1", kind="envoyExtAuthzHttp"))
    assert asked(by_address).http_service.server_uri.uri == "http://[fd00::1]:9000"
    assert by_address["Cluster outbound|9000|authorizer-http|fd00::1"].type == Cluster.DiscoveryType.STATIC


def test_the_pods_of_a_headless_authorizer_are_chosen_by_envoy() -> None:
    headless = service("authz", {"name": "x", "port": 9000}, ips=("None",))
    found = told(headless, custom(), settings())
    name = f"outbound|9000|authorizer-grpc|{AUTHZ}"
    assert found[f"Cluster {name}"].type == Cluster.DiscoveryType.EDS
    (group,) = found[f"ClusterLoadAssignment {name}"].endpoints
    assert group.lb_endpoints[0].endpoint.address.socket_address.address == "10.244.0.9"


def test_a_changed_provider_changes_what_the_workloads_that_ask_it_are_told() -> None:
    first = build_snapshot([*WORLD, custom(), settings()], None)
    before = translate_own(first, key("Pod", "web"))
    after = translate_own(build_snapshot([*WORLD, custom(), settings(timeout="3s")], first), key("Pod", "web"))
    changed = {new.name for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {EXT_AUTHZ}
