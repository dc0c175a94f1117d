from tests.unit.xds.envoys import cluster, endpoints

from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, ENDPOINTS


def test_a_layer_made_of_equal_resources_is_the_previous_one() -> None:
    before = Layer.of("all", [cluster("a"), endpoints("a")])
    assert Layer.of("all", [cluster("a"), endpoints("a")], before) is before


def test_a_change_of_endpoints_keeps_the_table_of_clusters() -> None:
    before = Layer.of("all", [cluster("a"), endpoints("a"), endpoints("b")])
    after = Layer.of("all", [cluster("a"), endpoints("a"), endpoints("b", "2")], before)
    assert after.tables[CLUSTER] is before.tables[CLUSTER]
    assert after.tables[ENDPOINTS].get("a") is before.tables[ENDPOINTS].get("a")


def test_small_tables_of_the_same_resources_are_one() -> None:
    shared = cluster("inbound|8080||")
    one, other = Layer.of("pod/a", [shared]), Layer.of("pod/b", [shared])
    assert one.tables[CLUSTER] is other.tables[CLUSTER]


def test_a_layer_of_another_slot_is_not_reused() -> None:
    before = Layer.of("one", [cluster("a")])
    assert Layer.of("two", [cluster("a")], before).slot == "two"


def test_a_set_finds_resources_in_all_layers() -> None:
    resources = ResourceSet((Layer.of("one", [cluster("a")]), Layer.of("two", [cluster("b"), endpoints("b")])))
    assert resources.names(CLUSTER) == {"a", "b"}
    assert resources.get(CLUSTER, "b") == cluster("b")
    assert resources.get(CLUSTER, "c") is None
    assert [r.name for r in resources.of_type(CLUSTER)] == ["a", "b"]
    assert len(resources) == 3


def test_a_servers_set_lacks_what_is_not_in_it_and_a_relays_does_not_know() -> None:
    assert ResourceSet().lacks(CLUSTER, "a")
    relay = ResourceSet(partial=True, complete=frozenset({CLUSTER}), absent={ENDPOINTS: frozenset({"gone"})})
    assert relay.lacks(CLUSTER, "a")
    assert relay.lacks(ENDPOINTS, "gone")
    assert not relay.lacks(ENDPOINTS, "a")
