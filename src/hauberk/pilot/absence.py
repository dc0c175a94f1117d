"""Proxies that should be connected but are not, and whether a change concerns them."""

from __future__ import annotations

from collections.abc import KeysView, Mapping
from operator import is_
from typing import Any

from hauberk.api.metadata import ObjectKey

Parts = tuple[Any, ...]


class Absence:
    """What the configuration of each absent proxy would be made from, as it last was; compared by identity.

    A proxy whose agent is just reconnecting is concerned by a change like any other: `apply --wait` waits for it too. Making
    its configuration only to find that out would cost as much as serving it.
    """

    def __init__(self) -> None:
        self._parts: dict[ObjectKey, Parts] = {}

    @property
    def pods(self) -> KeysView[ObjectKey]:
        return self._parts.keys()

    def renew(self, absent: Mapping[ObjectKey, Parts]) -> tuple[ObjectKey, ...]:
        """These are absent now; those among them that are concerned by what changed since the last time."""
        before, self._parts = self._parts, dict(absent)
        return tuple(pod for pod, parts in self._parts.items() if not _same(before.get(pod), parts))

    def begin(self, pod: ObjectKey, parts: Parts) -> None:
        """`pod` went away while its configuration was made from `parts`."""
        self._parts[pod] = parts


def _same(one: Parts | None, other: Parts) -> bool:
    return one is not None and len(one) == len(other) and all(map(is_, one, other))
