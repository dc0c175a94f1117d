from __future__ import annotations

import pytest
from tests.unit.mesh.mesh_objects import deployment, key, mtls, pod, service

from hauberk.api.metadata import ApiObject
from hauberk.mesh.endpoints import Endpoint, ServicePeers
from hauberk.mesh.snapshot import build_snapshot

WEB = key("Service", "web")


def endpoints(*objects: ApiObject, port: int = 0) -> tuple[Endpoint, ...]:
    return build_snapshot(objects, None).endpoints[WEB].ports[port][1]


def peers(*objects: ApiObject) -> ServicePeers:
    return build_snapshot(objects, None).peers[WEB]


def test_ready_pods_of_the_same_namespace_that_the_selector_matches_are_endpoints() -> None:
    found = endpoints(
        service("web"),
        pod("web-1", app="web", ip="10.244.0.5"),
        pod("web-2", app="web", ip="10.244.0.6", ready=False),
        pod("web-3", app="web", namespace="other", ip="10.244.0.7"),
        pod("web-4", app="web", ip=""),
        pod("other", ip="10.244.0.8"),
    )
    assert [(each.addresses, each.port, each.mtls) for each in found] == [(("10.244.0.5",), 8080, True)]


def test_publish_not_ready_addresses_takes_those_that_are_not_ready_but_not_those_that_leave() -> None:
    web = service("web", publishNotReadyAddresses=True)
    leaving = pod("b", app="web", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert [each.workload.name for each in endpoints(web, pod("a", app="web", ready=False), leaving)] == ["a"]


def test_a_named_target_port_is_each_pods_own() -> None:
    web = service("web", {"name": "http", "port": 80, "targetPort": "api"})
    one = pod("a", app="web", ports=[{"name": "api", "containerPort": 8001}])
    other = pod("b", app="web", ports=[{"name": "api", "containerPort": 8002}])
    assert [each.port for each in endpoints(web, one, other, pod("c", app="web"))] == [8001, 8002]


def test_a_service_without_selector_has_no_endpoints() -> None:
    assert endpoints(service("web", selector={}), pod("web")) == ()


@pytest.mark.parametrize(("mode", "expected"), [("STRICT", True), ("PERMISSIVE", True), ("DISABLE", False)])
def test_an_endpoint_expects_mutual_tls_unless_it_is_disabled(mode: str, expected: bool) -> None:
    assert [each.mtls for each in endpoints(service("web"), pod("web"), mtls("x", mode))] == [expected]


def test_an_endpoint_without_a_sidecar_expects_plain() -> None:
    plain = pod("web", metadata={"annotations": {"sidecar.istio.io/inject": "false"}})
    assert [each.mtls for each in endpoints(service("web"), plain)] == [False]


def test_peers_count_pods_that_are_not_ready_and_those_that_deployments_will_make() -> None:
    found = peers(service("web"), pod("a", app="web", account="one", ready=False, ip=""), deployment("web", "two"))
    assert found == ServicePeers(("one", "two"), meshed=True, mtls=True)


def test_one_pod_outside_of_the_mesh_makes_the_service_mixed() -> None:
    plain = pod("b", app="web", metadata={"annotations": {"sidecar.istio.io/inject": "false"}})
    found = peers(service("web"), pod("a", app="web"), plain)
    assert (found.meshed, found.mtls) == (False, False)


def test_one_port_without_mutual_tls_makes_the_service_mixed_but_meshed() -> None:
    disabled = mtls("web", selector={"matchLabels": {"app": "web"}}, portLevelMtls={8080: {"mode": "DISABLE"}})
    found = peers(service("web"), pod("web"), disabled)
    assert (found.meshed, found.mtls) == (True, False)
