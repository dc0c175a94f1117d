from __future__ import annotations

from hauberk.mesh.reuse import Reuse


class Counted:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, *inputs: object) -> tuple[object, ...]:
        self.calls.append(inputs)
        return inputs


def test_the_same_inputs_are_not_worked_on_twice() -> None:
    reuse, make, thing = Reuse(), Counted(), object()
    assert reuse(make, thing) is reuse(make, thing)
    assert len(make.calls) == 1


def test_another_object_is_worked_on_again_but_an_equal_value_keeps_its_identity() -> None:
    reuse, inputs = Reuse(), ([1], [1])
    assert inputs[0] is not inputs[1]
    first, second = (reuse(tuple, each) for each in inputs)
    assert second is first


def test_names_and_numbers_are_the_same_if_they_are_equal() -> None:
    reuse, make = Reuse(), Counted()
    reuse(make, "".join(["sh", "op"]), 80)
    reuse(make, "".join(["sho", "p"]), 80)
    assert len(make.calls) == 1


def test_scopes_do_not_know_of_each_other() -> None:
    reuse, make, thing = Reuse(), Counted(), object()
    for scope in ("a", "b", "a", "b"):
        reuse(make, thing, scope=scope)
    assert len(make.calls) == 2


def test_of_many_items_only_the_changed_one_is_made_again() -> None:
    reuse, make = Reuse(), Counted()
    items = {name: ([name],) for name in "abc"}
    before = reuse.each(make, items)
    after = reuse.each(make, items | {"b": (["other"],)})
    assert len(make.calls) == 4
    assert after["a"] is before["a"]
    assert after["b"] != before["b"]


def test_unchanged_items_give_the_very_same_mapping() -> None:
    reuse = Reuse()
    things = {name: ([name],) for name in "abc"}
    assert reuse.each(Counted(), {}) == {}
    make = Counted()
    assert reuse.each(make, dict(things)) is reuse.each(make, dict(things))


def test_an_item_that_is_gone_and_another_order_are_changes() -> None:
    reuse, make = Reuse(), Counted()
    first, second = ([1],), ([2],)
    both = reuse.each(make, {"a": first, "b": second})
    turned = reuse.each(make, {"b": second, "a": first})
    assert list(turned) == ["b", "a"]
    assert turned is not both
    assert list(reuse.each(make, {"a": first})) == ["a"]


def test_a_changed_common_input_makes_every_item_again() -> None:
    reuse, make = Reuse(), Counted()
    items = {name: ([name],) for name in "ab"}
    reuse.each(make, items, [1])
    reuse.each(make, items, [2])
    assert len(make.calls) == 4
