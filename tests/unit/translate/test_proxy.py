from __future__ import annotations

import random
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.router.cluster_specifiers.matcher.v3.matcher_pb2 import ClusterAction, MatcherClusterSpecifier
from envoy.service.discovery.v3.discovery_pb2 import Resource as Encoded
from google.protobuf.message import Message
from tests.unit.mesh.mesh_objects import deployment, key, mtls, pod, policy, service
from xds.type.matcher.v3.matcher_pb2 import Matcher

from hauberk.api.metadata import ApiObject
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.translate.proxy import translate_own, translate_shared
from hauberk.xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, Resource

MESSAGES: dict[str, type[Message]] = {
    **{CLUSTER: Cluster, ENDPOINTS: ClusterLoadAssignment, EXTENSION: TypedExtensionConfig},
    **{LISTENER: Listener, ROUTES: RouteConfiguration},
}
WEB = "outbound|80||web.shop.svc.cluster.local"


def world() -> list[ApiObject]:
    return [
        service("web"),
        service("any", {"port": 7000}, ips=("10.96.0.3", "fd00:10:96::3")),
        service("db", {"name": "tcp", "port": 5432}, ips=("10.96.0.2",)),
        service("peers", {"name": "tcp", "port": 5432}, {"name": "http", "port": 80}, ips=("None",), selector={"app": "db"}),
        pod("web-1", app="web", ip="10.244.0.3"),
        pod("web-2", app="web", ip="10.244.0.4"),
        pod("db-0", app="db", ip="10.244.0.5", account="db"),
        deployment("web", "default"),
        mtls("default", "STRICT", namespace="istio-system"),
        policy("all", "ALLOW", {}),
    ]


def everything(snapshot: MeshSnapshot, name: str = "web-1") -> tuple[Resource, ...]:
    return (*translate_shared(snapshot, "shop"), *translate_own(snapshot, key("Pod", name)))


def read(resources: tuple[Resource, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for resource in resources:
        encoded = Encoded.FromString(resource.encoded)
        message = MESSAGES[resource.type_url]()
        assert encoded.resource.Unpack(message)
        kind = resource.type_url.rpartition(".")[2]
        assert f"{kind} {resource.name}" not in found
        found[f"{kind} {resource.name}"] = message
    return found


def names(before: tuple[Resource, ...], after: tuple[Resource, ...]) -> set[str]:
    """Resources that are not the very same ones."""
    return {resource.name for resource in {*after} ^ {*before}}


def test_equal_objects_give_equal_bytes_in_whatever_order_they_come() -> None:
    objects = world()
    first = {resource.name: resource.encoded for resource in everything(build_snapshot(objects, None))}
    for seed in range(3):
        random.Random(seed).shuffle(objects)
        again = {resource.name: resource.encoded for resource in everything(build_snapshot(objects, None))}
        assert again == first


def test_without_a_change_the_very_same_tuples_come_back() -> None:
    first = build_snapshot(world(), None)
    shared, own = translate_shared(first, "shop"), translate_own(first, key("Pod", "web-1"))
    objects = world()
    snapshot = build_snapshot(objects, None)
    before = (translate_shared(snapshot, "shop"), translate_own(snapshot, key("Pod", "web-1")))
    snapshot = build_snapshot(objects, snapshot)
    assert translate_shared(snapshot, "shop") is before[0]
    assert translate_own(snapshot, key("Pod", "web-1")) is before[1]
    assert (before[0], before[1]) == (shared, own)


def test_an_endpoint_that_comes_or_goes_changes_one_load_assignment() -> None:
    objects = world()
    snapshot = build_snapshot(objects, None)
    before = everything(snapshot)
    objects[4] = pod("web-1", app="web", ip="10.244.0.3", ready=False)
    changed = names(before, everything(build_snapshot(objects, snapshot)))
    assert changed == {WEB}
    assert {r.type_url for r in set(everything(build_snapshot(objects, snapshot))) - set(before)} == {ENDPOINTS}


def test_a_policy_changes_what_guards_its_workloads_and_nothing_shared() -> None:
    objects = world()
    snapshot = build_snapshot(objects, None)
    shared, web, db = (
        translate_shared(snapshot, "shop"),
        translate_own(snapshot, key("Pod", "web-1")),
        translate_own(snapshot, key("Pod", "db-0")),
    )
    objects.append(policy("web", "DENY", {}, app="web"))
    snapshot = build_snapshot(objects, snapshot)
    assert translate_shared(snapshot, "shop") is shared
    assert translate_own(snapshot, key("Pod", "db-0")) is db
    assert "inbound|8080||" in names(web, translate_own(snapshot, key("Pod", "web-1")))


def test_workloads_of_one_shape_share_their_encoded_listener() -> None:
    snapshot = build_snapshot(world(), None)
    one, two = ({(r.type_url, r.name): r for r in translate_own(snapshot, key("Pod", name))} for name in ("web-1", "web-2"))
    assert one[LISTENER, "virtualInbound"] is two[LISTENER, "virtualInbound"]
    assert one[ROUTES, "inbound|8080||"] is two[ROUTES, "inbound|8080||"]
    assert one[CLUSTER, "inbound|8080||"] != two[CLUSTER, "inbound|8080||"]


def test_the_resources_have_the_names_that_dashboards_parse() -> None:
    found = read(everything(build_snapshot(world(), None)))
    assert {name for name in found if name.startswith("Listener")} == {
        *("Listener virtualOutbound", "Listener virtualInbound", "Listener AuthorizedCluster"),
        *("Listener 0.0.0.0_80", "Listener 10.96.0.2_5432", "Listener 10.96.0.3_7000", "Listener 10.244.0.5_5432"),
    }
    assert {"Cluster PassthroughCluster", "Cluster BlackHoleCluster", "Cluster InboundPassthroughCluster"} <= found.keys()
    assert {f"Cluster {WEB}", "Cluster inbound|8080||", "RouteConfiguration 80"} <= found.keys()
    assert "RouteConfiguration any.shop.svc.cluster.local:7000" in found


def chosen(match: Matcher.OnMatch) -> str:
    return ClusterAction.FromString(match.action.typed_config.value).cluster


def test_a_request_is_routed_by_every_name_of_its_service_and_by_its_address() -> None:
    snapshot = build_snapshot(world(), None)
    own = read(everything(snapshot))["RouteConfiguration 80"]
    (web,) = (host for host in own.virtual_hosts if host.name == "web.shop.svc.cluster.local:80")
    assert set(web.domains) == {"web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "10.96.0.1"}
    assert web.routes[0].route.cluster == WEB
    elsewhere = read(translate_shared(snapshot, "other"))["RouteConfiguration 80"]
    (web,) = (host for host in elsewhere.virtual_hosts if host.name == "web.shop.svc.cluster.local:80")
    assert "web" not in web.domains
    (rest,) = (host for host in own.virtual_hosts if host.name == "allow_any")
    (route,) = rest.routes
    table = MatcherClusterSpecifier.FromString(route.route.inline_cluster_specifier_plugin.extension.typed_config.value).cluster_matcher
    assert {address: chosen(each) for address, each in table.matcher_tree.exact_match_map.map.items()} == {"10.96.0.1": WEB}
    assert chosen(table.on_no_match) == "PassthroughCluster"


def test_every_load_assignment_has_its_cluster_and_the_other_way_round() -> None:
    found = read(everything(build_snapshot(world(), None)))
    eds = {name.removeprefix("Cluster ") for name, each in found.items() if isinstance(each, Cluster) and each.type == Cluster.EDS}
    assert eds == {name.removeprefix("ClusterLoadAssignment ") for name in found if name.startswith("ClusterLoadAssignment")}


def test_a_server_is_believed_if_it_has_an_identity_of_the_services_pods() -> None:
    cluster = read(everything(build_snapshot(world(), None)))["Cluster outbound|5432||db.shop.svc.cluster.local"]
    assert b"spiffe://cluster.local/ns/shop/sa/db" in cluster.transport_socket.typed_config.value
    nobody = read(everything(build_snapshot([service("web")], None)))[f"Cluster {WEB}"]
    assert b"spiffe://cluster.local/ns/shop/" in nobody.transport_socket.typed_config.value


def test_a_headless_service_goes_to_the_address_that_was_asked_for_in_tls_only_if_all_its_pods_take_it() -> None:
    name = "Cluster outbound|5432||peers.shop.svc.cluster.local"
    cluster = read(everything(build_snapshot(world(), None)))[name]
    assert (cluster.type, cluster.HasField("transport_socket")) == (Cluster.ORIGINAL_DST, True)
    mixed = [*world(), pod("db-1", app="db", ip="10.244.0.9", metadata={"annotations": {"sidecar.istio.io/inject": "false"}})]
    assert not read(everything(build_snapshot(mixed, None)))[name].HasField("transport_socket")


def test_a_pod_without_a_sidecar_is_told_nothing() -> None:
    plain = pod("plain", metadata={"annotations": {"sidecar.istio.io/inject": "false"}})
    assert translate_own(build_snapshot([plain], None), key("Pod", "plain")) == ()


def test_a_rejected_resource_leads_back_to_the_objects_it_came_from() -> None:
    origins = {r.name: r.origins for r in everything(build_snapshot(world(), None))}
    assert origins[WEB] == ("Service/shop/web",)
    assert set(origins["virtualInbound"]) == {"AuthorizationPolicy/shop/all", "PeerAuthentication/istio-system/default"}
    assert origins["inbound|8080||"]
