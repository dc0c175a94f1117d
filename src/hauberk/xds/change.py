"""What leads from one table to another, computed and encoded once for everyone who makes that step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Final

from hauberk.xds.encode import encode_resources, encode_response
from hauberk.xds.resource import Resource

# Different narrowings of one change that are kept; beyond that (every proxy subscribes to something else) they are made anew.
NARROWED_KEPT: Final = 64


class Change:
    """Resources to tell and names to take back; immutable, so that a thousand sessions share its bytes."""

    def __init__(self, updated: Iterable[Resource], removed: Iterable[str] = ()) -> None:
        self.updated: Final = tuple(updated)
        self.removed: Final = tuple(removed)
        self._narrowed: dict[frozenset[str], Change] = {}
        self._responses: dict[bool, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self.updated or self.removed)

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the resources that are told."""
        return frozenset(resource.name for resource in self.updated)

    @cached_property
    def size(self) -> int:
        """Bytes that the resources take, without the framing."""
        return sum(len(resource.encoded) for resource in self.updated)

    @cached_property
    def digest(self) -> str:
        """Equal for changes that say the same."""
        said = "\n".join((*(f"{resource.name} {resource.version}" for resource in self.updated), *self.removed))
        return blake2b(said.encode(), digest_size=6).hexdigest()

    def body(self) -> bytes:
        """The resources as the `resources` field of a response. Not kept: `response` is what a thousand proxies are sent."""
        return encode_resources(self.updated)

    def response(self, type_url: str, *, with_removals: bool) -> bytes:
        """A response that says exactly this, the same bytes object each time."""
        found = self._responses.get(with_removals)
        if found is None:
            removed = self.removed if with_removals else ()
            found = self._responses[with_removals] = encode_response(type_url, self.digest, (self.body(),), removed)
        return found

    def narrowed(self, names: frozenset[str]) -> Change:
        """Only what concerns `names`."""
        if self.names <= names and names.issuperset(self.removed):
            return self
        found = self._narrowed.get(names)
        if found is None:
            kept = (resource for resource in self.updated if resource.name in names)
            found = Change(kept, (name for name in self.removed if name in names))
            if len(self._narrowed) >= NARROWED_KEPT:
                self._narrowed.clear()
            self._narrowed[names] = found
        return found

    def without(self, held: Mapping[str, str]) -> Change:
        """Without the resources that are `held` (name to version) as they are."""
        if not held or self.names.isdisjoint(held):
            return self
        return Change((resource for resource in self.updated if held.get(resource.name) != resource.version), self.removed)


NOTHING: Final = Change(())
