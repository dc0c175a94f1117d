from tests.unit.xds.envoys import cluster, decode

from hauberk.xds.change import Change
from hauberk.xds.resource import CLUSTER
from hauberk.xds.update import Update, rejections_of


def update(*names: str) -> Update:
    change = Change(cluster(name) for name in names)
    return Update(CLUSTER, change.digest, (change,))


def test_only_the_resource_that_is_named_is_blamed() -> None:
    told = update("outbound|80||a.b", "outbound|80||a.bc", "x.outbound|80||a.b", "outbound|80||a.b.c")
    found = rejections_of(told, "Error adding/updating cluster(s) outbound|80||a.b: unknown field")
    assert [r.name for r in found] == ["outbound|80||a.b"]


def test_a_single_resource_is_blamed_without_being_named() -> None:
    assert [r.name for r in rejections_of(update("a"), "no reason")] == ["a"]


def test_if_none_is_named_none_is_blamed() -> None:
    assert [r.name for r in rejections_of(update("a", "b"), "no reason")] == [""]


def test_a_rejection_leads_to_the_object() -> None:
    assert rejections_of(update("a"), "bad")[0].origins == ("Service/shop/a",)


def test_several_changes_make_one_response() -> None:
    one, other = Change([cluster("a")]), Change([cluster("b")])
    told = Update(CLUSTER, "n", (one, other), ("gone",))
    assert [r.name for r in decode(told).resources] == ["a", "b"]
    assert list(decode(told).removed_resources) == ["gone"]
    assert told.names() == {"a", "b"}
    assert told.size == sum(len(r.encoded) for r in told.resources())
