"""The resources of one type in one layer, and the steps between two such tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

from hauberk.xds.change import NOTHING, Change
from hauberk.xds.resource import Resource

# Different selections of one table that are kept (each set of proxies with equal subscriptions needs one).
SELECTIONS_KEPT: Final = 64


class Table:
    """Resources by name; compared by identity, never changed. What is computed about it lives as long as it does."""

    __slots__ = ("__weakref__", "_differences", "_selections", "names", "resources", "type_url")

    def __init__(self, type_url: str, resources: Mapping[str, Resource]) -> None:
        self.type_url: Final = type_url
        self.resources: Final[Mapping[str, Resource]] = MappingProxyType(dict(resources))
        self.names: Final = frozenset(self.resources)
        # Weak keys: a step from a table that no session holds any more will not be asked for again.
        self._differences: WeakKeyDictionary[Table, Change] = WeakKeyDictionary()
        self._selections: dict[frozenset[str], Change] = {}

    def __len__(self) -> int:
        return len(self.resources)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.resources.values())

    def __repr__(self) -> str:
        return f"Table({self.type_url.rpartition('.')[2]}, {len(self)})"

    def get(self, name: str) -> Resource | None:
        return self.resources.get(name)

    def selected(self, names: frozenset[str]) -> Change:
        """Those resources that `names` names, as something to tell."""
        chosen = names & self.names
        found = self._selections.get(chosen)
        if found is None:
            whole = len(chosen) == len(self.names)
            found = Change(resource for name, resource in self.resources.items() if whole or name in chosen)
            if len(self._selections) >= SELECTIONS_KEPT:
                self._selections.clear()
            self._selections[chosen] = found
        return found

    def since(self, old: Table) -> Change:
        """What is to be told to someone who knows `old`."""
        found = self._differences.get(old)
        if found is None:
            before, now = old.resources, self.resources
            updated = (resource for name, resource in now.items() if not _same(before.get(name), resource))
            found = self._differences[old] = Change(updated, (name for name in before if name not in now))
        return found


def difference(old: Table | None, new: Table | None) -> Change:
    """The step from `old` to `new`, where None is a table without resources."""
    if old is new:
        return NOTHING
    if new is None:
        return Change((), old.names if old is not None else ())
    return new.since(old) if old is not None else new.selected(new.names)


def _same(old: Resource | None, new: Resource) -> bool:
    return old is new or (old is not None and old.version == new.version)
