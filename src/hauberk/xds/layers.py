"""Sets of resources, put together from immutable layers that many proxies share.

A proxy's set is a few layers (everything outbound of its namespace, everything inbound of its own). Two sets are compared
layer by layer and first by identity, so the thousandth proxy costs a few pointer comparisons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

from hauberk.xds.resource import Resource
from hauberk.xds.table import Table

# Tables with few resources are looked up by what they hold: a thousand pods of a few shapes share their own listeners' tables,
# and with them the steps between them and the bytes that are sent.
SMALL: Final = 32
_SMALL_TABLES: Final[WeakValueDictionary[tuple[int, ...], Table]] = WeakValueDictionary()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Layer:
    """Resources of several types under one `slot` name; the slots of one set differ, and so do the names in them."""

    slot: str
    tables: Mapping[str, Table]

    @classmethod
    def of(cls, slot: str, resources: Iterable[Resource], previous: Layer | None = None) -> Layer:
        """A layer of `resources`, which keeps every table of `previous` that holds the same, or `previous` itself."""
        grouped: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            grouped.setdefault(resource.type_url, {})[resource.name] = resource
        before = previous.tables if previous is not None and previous.slot == slot else {}
        tables = {type_url: _table(type_url, group, before.get(type_url)) for type_url, group in grouped.items()}
        if previous is not None and before.keys() == tables.keys() and all(before[t] is table for t, table in tables.items()):
            return previous
        return cls(slot, MappingProxyType(tables))

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables.values())

    def __iter__(self) -> Iterator[Resource]:
        for table in self.tables.values():
            yield from table


def _table(type_url: str, resources: dict[str, Resource], previous: Table | None) -> Table:
    if previous is None:
        return _made(type_url, resources)
    old = previous.resources
    # An equal resource is replaced by the one already held: later comparisons end at identity, and the bytes exist once.
    kept = {name: _kept(resource, old.get(name)) for name, resource in resources.items()}
    if len(kept) == len(old) and all(old.get(name) is resource for name, resource in kept.items()):
        return previous
    return _made(type_url, kept)


def _made(type_url: str, resources: dict[str, Resource]) -> Table:
    if len(resources) > SMALL:
        return Table(type_url, resources)
    # Identities are unambiguous here: a table that is found keeps its resources alive.
    key = tuple(map(id, resources.values()))
    found = _SMALL_TABLES.get(key)
    if found is None:
        found = _SMALL_TABLES[key] = Table(type_url, resources)
    return found


def _kept(new: Resource, old: Resource | None) -> Resource:
    return old if old is not None and old.version == new.version and old.origins == new.origins else new


@dataclass(frozen=True, slots=True, eq=False)
class ResourceSet:
    """All that one proxy may be told: its layers, as of `revision` of the store.

    A server's set is whole: what is not in it does not exist. A relay's set is `partial`: it holds what its own server has
    told so far, so a missing resource exists or not; only of `complete` types, and of the names in `absent` (by type), it
    knows that what is missing does not exist.
    """

    layers: tuple[Layer, ...] = ()
    revision: int = 0
    partial: bool = False
    complete: frozenset[str] = frozenset()
    absent: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def tables(self, type_url: str) -> tuple[tuple[str, Table], ...]:
        """`(slot, table)` of each layer that holds resources of this type."""
        return tuple([(layer.slot, table) for layer in self.layers if (table := layer.tables.get(type_url)) is not None])

    def has(self, type_url: str, tables: tuple[tuple[str, Table], ...]) -> bool:
        """Whether these very tables are all of this type."""
        index = 0
        for layer in self.layers:
            table = layer.tables.get(type_url)
            if table is None:
                continue
            if index == len(tables) or tables[index][1] is not table or tables[index][0] != layer.slot:
                return False
            index += 1
        return index == len(tables)

    def names(self, type_url: str) -> frozenset[str]:
        """Names of all resources of this type."""
        tables = [table for _, table in self.tables(type_url)]
        return tables[0].names if len(tables) == 1 else frozenset().union(*(table.names for table in tables))

    def get(self, type_url: str, name: str) -> Resource | None:
        for _, table in self.tables(type_url):
            if (found := table.get(name)) is not None:
                return found
        return None

    def lacks(self, type_url: str, name: str) -> bool:
        """Whether a resource that is missing here is known not to exist."""
        return not self.partial or type_url in self.complete or name in self.absent.get(type_url, ())

    def of_type(self, type_url: str) -> Iterator[Resource]:
        for _, table in self.tables(type_url):
            yield from table

    def __len__(self) -> int:
        return sum(len(layer) for layer in self.layers)
