"""Sets of subscribed names, of which equal ones are one object: a thousand proxies mostly ask for the same thousand names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from weakref import WeakValueDictionary

_POOL: Final[WeakValueDictionary[int, frozenset[str]]] = WeakValueDictionary()

NO_NAMES: Final[frozenset[str]] = frozenset()


def shared(names: Iterable[str]) -> frozenset[str]:
    """The one set equal to `names`, kept for as long as someone holds it."""
    fresh = frozenset(names)
    found = _POOL.setdefault(hash(fresh), fresh)
    # Two different sets with one hash: the second is not shared, and still right.
    return found if found == fresh else fresh
