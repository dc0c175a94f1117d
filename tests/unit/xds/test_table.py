import gc
from weakref import ref

from tests.unit.xds.envoys import cluster

from hauberk.xds.resource import CLUSTER
from hauberk.xds.table import Table, difference


def table(*versions: str) -> Table:
    return Table(CLUSTER, {name: cluster(name, version) for name, version in zip("abcdef", versions, strict=False)})


def test_a_step_says_what_changed_came_and_went() -> None:
    new = Table(CLUSTER, {"a": cluster("a", "2"), "b": cluster("b"), "d": cluster("d")})
    step = difference(table("1", "1", "1"), new)
    assert [r.name for r in step.updated] == ["a", "d"]
    assert step.removed == ("c",)


def test_a_step_is_computed_once() -> None:
    old, new = table("1"), table("2")
    assert difference(old, new) is difference(old, new)


def test_an_old_table_is_not_kept_by_the_steps_from_it() -> None:
    old, new = table("1", "1"), table("2", "1")
    difference(old, new)
    gone = ref(old)
    del old
    gc.collect()
    assert gone() is None


def test_a_table_that_goes_is_taken_back_and_a_new_one_told() -> None:
    assert set(difference(table("1", "1"), None).removed) == {"a", "b"}
    assert difference(None, table("1", "1")).names == {"a", "b"}
    assert not difference(None, None)


def test_a_selection_is_made_once_for_equal_names() -> None:
    whole = table("1", "1", "1")
    assert whole.selected(frozenset({"a", "x"})) is whole.selected(frozenset({"a", "y"}))
    assert whole.selected(frozenset({"a"})).names == {"a"}


def test_a_change_is_narrowed_to_names_once() -> None:
    step = difference(table("1", "1"), table("2", "2"))
    assert step.narrowed(frozenset({"a", "b", "z"})) is step
    assert step.narrowed(frozenset({"a"})) is step.narrowed(frozenset({"a"}))
    assert step.narrowed(frozenset({"a"})).names == {"a"}


def test_what_is_held_in_the_same_version_is_left_out() -> None:
    step = difference(None, table("1", "1"))
    assert step.without({"a": cluster("a").version, "b": "other"}).names == {"b"}
