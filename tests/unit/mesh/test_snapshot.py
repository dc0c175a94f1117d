from __future__ import annotations

import random
from datetime import UTC, datetime

from tests.unit.mesh.mesh_objects import deployment, key, mtls, pod, policy, service

from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import ApiObject
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.inbound import InboundPort
from hauberk.mesh.names import NamedEndpoint, NameEntry
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot

ROOT = "istio-system"


def world() -> list[ApiObject]:
    return [
        service("web"),
        service("db", {"name": "tcp", "port": 5432}, ips=("10.96.0.2",)),
        service("peers", {"port": 7000}, ips=("None",), selector={"app": "db"}),
        pod("web-1", app="web", ip="10.244.0.3"),
        pod("web-2", app="web", ip="10.244.0.4"),
        pod("db-0", app="db", ip="10.244.0.5", hostname="db-0", subdomain="peers"),
        deployment("web", "default"),
        mtls("default", "STRICT", namespace=ROOT),
        policy("all"),
        policy("root", namespace=ROOT),
        policy("db", "DENY", {}, app="db"),
        ConfigMap.model_validate({"metadata": {"name": "istio", "namespace": ROOT}, "data": {"mesh": "connectTimeout: 3s\n"}}),
    ]


def parts(snapshot: MeshSnapshot) -> list[object]:
    return [getattr(snapshot, name) for name in ("config", "services", "workloads", "endpoints", "peers", "inbound", "names")]


def test_the_order_of_the_objects_makes_no_difference() -> None:
    objects = world()
    first = build_snapshot(objects, None)
    for seed in range(5):
        random.Random(seed).shuffle(objects)
        assert parts(build_snapshot(objects, None)) == parts(first)


def test_what_is_as_it_was_is_the_same_object() -> None:
    objects = world()
    first = build_snapshot(objects, None)
    second = build_snapshot(objects, first)
    assert all(one is other for one, other in zip(parts(first), parts(second), strict=True))


def test_a_pod_that_becomes_unready_changes_its_service_and_nothing_else() -> None:
    objects = world()
    before = build_snapshot(objects, None)
    objects[3] = pod("web-1", app="web", ip="10.244.0.3", ready=False)
    after = build_snapshot(objects, before)
    web = key("Service", "web")
    assert [len(found) for _, found in after.endpoints[web].ports] == [1]
    assert {k for k in after.endpoints if after.endpoints[k] is not before.endpoints[k]} == {web}
    assert (after.services, after.peers, after.inbound, after.names) == (before.services, before.peers, before.inbound, before.names)
    assert after.peers is before.peers
    assert after.inbound is before.inbound


def test_a_rebuilt_snapshot_equals_one_made_anew() -> None:
    objects = world()
    snapshot: MeshSnapshot | None = None
    chance = random.Random(7)
    for step in range(30):
        if chance.random() < 0.5 and len(objects) > 3:
            objects.pop(chance.randrange(len(objects)))
        else:
            objects = [each for each in objects if each.key.name != f"p{step % 5}"]
            objects.append(pod(f"p{step % 5}", app=chance.choice(["web", "db"]), ip=f"10.244.1.{step + 1}", ready=chance.random() < 0.7))
        snapshot = build_snapshot(objects, snapshot)
        assert parts(snapshot) == parts(build_snapshot(objects, None))


def test_settings_come_from_the_config_map_of_the_root_namespace() -> None:
    assert build_snapshot(world(), None).config.connect_timeout.total_seconds() == 3
    assert build_snapshot([], None).config.connect_timeout.total_seconds() == 10


def test_policies_of_the_root_namespace_the_namespace_and_the_selector_add_up() -> None:
    inbound = build_snapshot(world(), None).inbound
    assert [p.key.name for p in inbound[key("Pod", "web-1")].policies] == ["all", "root"]
    assert [p.key.name for p in inbound[key("Pod", "db-0")].policies] == ["all", "db", "root"]


def test_workloads_that_the_same_policies_select_share_one_tuple() -> None:
    inbound = build_snapshot(world(), None).inbound
    assert inbound[key("Pod", "web-1")].policies is inbound[key("Pod", "web-2")].policies


def test_of_two_services_that_name_one_port_the_older_says_its_protocol() -> None:
    young = service("a", {"name": "tcp", "port": 80, "targetPort": 8080}, selector={"app": "web"})
    old = service("b", {"name": "http", "port": 80, "targetPort": 8080}, selector={"app": "web"})
    old = old.model_copy(update={"metadata": old.metadata.model_copy(update={"creation_timestamp": datetime(2026, 1, 1, tzinfo=UTC)})})
    inbound = build_snapshot([young, old, pod("web")], None).inbound[key("Pod", "web")]
    assert inbound.ports == (InboundPort(8080, Protocol.HTTP, MtlsMode.PERMISSIVE),)


def test_a_port_that_only_a_mode_names_is_sniffed() -> None:
    own = mtls("web", selector={"matchLabels": {"app": "web"}}, portLevelMtls={9000: {"mode": "DISABLE"}})
    inbound = build_snapshot([own, pod("web")], None).inbound[key("Pod", "web")]
    assert inbound.ports == (InboundPort(9000, Protocol.SNIFFED, MtlsMode.DISABLE),)


def test_a_pod_without_a_sidecar_has_nothing_to_guard() -> None:
    plain = pod("web", metadata={"annotations": {"sidecar.istio.io/inject": "false"}})
    assert build_snapshot([plain], None).inbound == {}


def test_names_are_the_services_addresses_or_their_pods() -> None:
    names = build_snapshot(world(), None).names
    assert names[key("Service", "web")] == NameEntry(("10.96.0.1",), headless=False)
    assert names[key("Service", "peers")] == NameEntry((), headless=True, endpoints=(NamedEndpoint("db-0", ("10.244.0.5",)),))


def test_of_two_services_that_claim_one_address_the_older_has_it() -> None:
    objects = [service("b"), service("a"), service("c", ips=("10.96.0.3",))]
    services = build_snapshot(objects, None).services
    assert [services[key("Service", name)].addresses for name in "abc"] == [("10.96.0.1",), (), ("10.96.0.3",)]
