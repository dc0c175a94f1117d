"""Values of pure functions, kept while their inputs are the very same objects.

The argument list is the dependency list: whoever makes a value from something names it as an input, and there is no other
record of what changed. Equal values keep their identity too, so that a change which makes no difference ends where it began.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import eq, is_
from types import MappingProxyType
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

Inputs = tuple[Any, ...]

_PLAIN = frozenset({str, int, bool})


@dataclass(frozen=True, slots=True)
class _Slot:
    inputs: Inputs
    items: Mapping[Any, Inputs]
    value: Any


class Reuse:
    """The last value of each function (and `scope`), handed on from one snapshot to the next.

    It changes no answer: with an empty one everything is made anew and equal.
    """

    def __init__(self) -> None:
        self._slots: dict[tuple[Callable[..., Any], Hashable], _Slot] = {}

    def __call__(self, make: Callable[..., R], *inputs: Any, scope: Hashable = None) -> R:
        """`make(*inputs)`, or the last value if each input is the same object as then."""
        last = self._slots.get((make, scope))
        if last is not None and _same(last.inputs, inputs):
            kept: R = last.value
            return kept
        made = make(*inputs)
        value = last.value if last is not None and last.value == made else made
        self._slots[(make, scope)] = _Slot(inputs, {}, value)
        return value

    def each(self, make: Callable[..., R], items: Mapping[K, Inputs], *common: Any, scope: Hashable = None) -> Mapping[K, R]:
        """`make(*inputs, *common)` for the inputs of every item; the same mapping as last time if no value is new.

        An item is made again only if one of its inputs, or one of `common`, is another object than last time. `items` is kept
        until the next call: it must not be changed afterwards.
        """
        last = self._slots.get((make, scope))
        before: Mapping[K, R] = last.value if last is not None else {}
        known: Mapping[K, Inputs] = last.items if last is not None and _same(last.inputs, common) else {}
        values: dict[K, R] = {}
        for key, inputs in items.items():
            old = known.get(key)
            if old is not None and (old is inputs or _same(old, inputs)):
                values[key] = before[key]
                continue
            made = make(*inputs, *common)
            previous = before.get(key)
            values[key] = previous if previous is not None and previous == made else made
        value = before if last is not None and _same_mapping(before, values) else MappingProxyType(values)
        self._slots[(make, scope)] = _Slot(common, items, value)
        return value


def _same(old: Inputs, new: Inputs) -> bool:
    return len(old) == len(new) and (all(map(is_, old, new)) or all(map(_alike, old, new)))


def _alike(one: object, other: object) -> bool:
    # Names and numbers are made anew all the time; everything larger is compared by identity.
    return one is other or (type(one) in _PLAIN and type(one) is type(other) and one == other)


def _same_mapping(old: Mapping[K, R], new: Mapping[K, R]) -> bool:
    # Order counts: it is the order of listeners and virtual hosts.
    return len(old) == len(new) and all(map(is_, old.values(), new.values())) and all(map(eq, old, new))
