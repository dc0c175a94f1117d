"""What was said about one resource type on one stream: subscriptions, what the proxy holds, what it is owed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hauberk.xds.change import Change
from hauberk.xds.layers import ResourceSet
from hauberk.xds.names import NO_NAMES, shared
from hauberk.xds.resource import CLUSTER, LISTENER, SCOPED_ROUTES
from hauberk.xds.table import Table, difference
from hauberk.xds.update import Update

EVERYTHING: Final = "*"
# Types for which a first request without names means all of them, as Envoy has always asked for these.
LEGACY_WILDCARD: Final = frozenset({CLUSTER, LISTENER, SCOPED_ROUTES})


@dataclass(frozen=True, slots=True)
class Owed:
    """What a proxy has still to be told: resources, names it asked for that do not exist, and names to take back."""

    changes: tuple[Change, ...] = ()
    missing: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.missing or self.removed)

    @property
    def told(self) -> bool:
        """Whether there is anything that need not wait for other types before it is taken back."""
        return bool(self.changes or self.missing)


NOTHING_OWED: Final = Owed()


class Conversation:
    """One type's part of a delta stream.

    What the proxy holds is `_told` (tables, as far as subscribed) plus `_held` (names and versions it brought along or that
    wait to be taken back). At most one response is outstanding: what changes meanwhile is told as one step afterwards, so a
    slow proxy costs no memory.
    """

    def __init__(self, type_url: str) -> None:
        self.type_url: Final = type_url
        self.wildcard = False
        self.names: frozenset[str] = NO_NAMES
        self.outstanding: Update | None = None
        self._begun = False
        self._fresh: frozenset[str] = NO_NAMES
        self._told: tuple[tuple[str, Table], ...] = ()
        self._held: dict[str, str] = {}
        self._doomed: frozenset[str] = NO_NAMES

    @property
    def begun(self) -> bool:
        """Whether the proxy has asked for this type at all."""
        return self._begun

    def on_subscription(self, request: DeltaDiscoveryRequest, refused: Mapping[str, str]) -> None:
        """Take in names, and in the first request what the proxy holds already; `refused` are versions it holds to be bad."""
        wanted, unwanted = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if not self._begun:
            self._begun = True
            self.wildcard = not wanted and self.type_url in LEGACY_WILDCARD
            self._held = dict(request.initial_resource_versions)
            if self._held:
                # The same process came back: what it refused before it would refuse again.
                self._held.update(refused)
        if EVERYTHING in wanted and not self.wildcard:
            self._begin_wildcard()
        if EVERYTHING in unwanted:
            self.wildcard = False
        wanted.discard(EVERYTHING)
        unwanted.discard(EVERYTHING)
        if wanted or unwanted:
            self._change_names(wanted, unwanted)

    def _begin_wildcard(self) -> None:
        answered = self.names - self._fresh
        told = {r.name: r.version for _, table in self._told for r in table.selected(answered).updated}
        self._held = {**self._held, **told}
        self._told = ()
        self.wildcard = True

    def _change_names(self, wanted: set[str], unwanted: set[str]) -> None:
        self.names = shared((self.names - unwanted) | wanted) if unwanted or self.names else shared(wanted)
        # A name asked for again is answered again: the proxy has a reason (a cluster removed and added in between).
        self._fresh = (self._fresh - unwanted) | wanted
        if self.wildcard:
            # Still covered by the wildcard: the protocol wants to hear so, or that it is gone.
            self._fresh |= unwanted
        elif unwanted and self._held:
            self._held = {name: version for name, version in self._held.items() if name not in unwanted}
        self._fresh = shared(self._fresh)

    def holds(self, target: ResourceSet) -> bool:
        """Whether the proxy was told exactly the tables of `target`: the quick answer, and mostly the right one."""
        return not self._fresh and not self._held and target.has(self.type_url, self._told)

    def owed(self, target: ResourceSet, again: frozenset[str] = frozenset()) -> Owed:
        """What leads from what the proxy holds to `target`; `again` are names to be told even if they did not change."""
        if not self._begun:
            return NOTHING_OWED
        tables = target.tables(self.type_url)
        fresh = self._fresh
        steps = self._without_moves(self._steps(tables))
        asked = [table.selected(fresh - again).without(self._held) for _, table in tables] if fresh else []
        repeated = [table.selected(again) for _, table in tables] if again else []
        removed = self._removed(steps, target)
        missing = self._missing(target)
        changes = _without_repeats([*repeated, *asked, *(step.without(self._held) for step in steps)])
        return Owed(changes, missing, tuple(name for name in removed if name not in missing))

    def _missing(self, target: ResourceSet) -> tuple[str, ...]:
        if not self._fresh:
            return ()
        unknown = self._fresh - target.names(self.type_url)
        return tuple(sorted(name for name in unknown if target.lacks(self.type_url, name)))

    def _steps(self, tables: tuple[tuple[str, Table], ...]) -> list[Change]:
        before = dict(self._told)
        steps = [difference(before.pop(slot, None), table) for slot, table in tables]
        steps += [difference(table, None) for table in before.values()]
        if self.wildcard:
            return [step for step in steps if step]
        answered = shared(self.names - self._fresh) if self._fresh else self.names
        return [narrow for step in steps if step and answered and (narrow := step.narrowed(answered))]

    def _without_moves(self, steps: list[Change]) -> list[Change]:
        """A resource that only moved to another layer is not told again."""
        if len(steps) < 2 or not any(step.removed for step in steps):
            return steps
        left = {name for step in steps for name in step.removed}
        held = {name: r.version for _, table in self._told for name in left if (r := table.get(name)) is not None}
        return [step.without(held) for step in steps]

    def _removed(self, steps: list[Change], target: ResourceSet) -> tuple[str, ...]:
        gone = [name for step in steps for name in step.removed]
        gone += [name for name in self._held if self._forgotten(name, target)]
        if not gone:
            return ()
        if len(steps) == 1 and len(gone) == len(steps[0].removed):
            return steps[0].removed
        # A resource that moved to another layer was not taken away.
        return tuple(dict.fromkeys(name for name in gone if target.get(self.type_url, name) is None))

    def _forgotten(self, name: str, target: ResourceSet) -> bool:
        concerned = self.wildcard or name in self.names
        return concerned and (name in self._doomed or target.lacks(self.type_url, name)) and target.get(self.type_url, name) is None

    def tell(self, owed: Owed, target: ResourceSet, *, with_removals: bool) -> Update | None:
        """Go over to `target`; the response that takes the proxy there, if one is needed.

        Without removals the proxy keeps the names in `owed.removed` for now: they stay owed.
        """
        self._settle(owed, target, keep=() if with_removals else owed.removed)
        removed = (*owed.missing, *owed.removed) if with_removals else owed.missing
        if not owed.changes and not removed:
            return None
        nonce = "-".join(change.digest for change in owed.changes) or f"removed-{len(removed)}"
        self.outstanding = Update(self.type_url, nonce, owed.changes, removed)
        return self.outstanding

    def _settle(self, owed: Owed, target: ResourceSet, keep: tuple[str, ...]) -> None:
        kept = {r.name: r.version for _, table in self._told for name in keep if (r := table.get(name)) is not None}
        kept.update((name, self._held[name]) for name in keep if name in self._held)
        # Of a relay's partial set: what it does not know yet is answered, or taken back, when it does.
        if target.partial:
            unknown = [name for name in self._held if name not in owed.removed and self._unknown(name, target)]
            kept.update((name, self._held[name]) for name in unknown)
        self._fresh = shared(name for name in self._fresh if self._unknown(name, target)) if target.partial else NO_NAMES
        self._held = kept
        self._doomed = frozenset(keep)
        self._told = target.tables(self.type_url)

    def _unknown(self, name: str, target: ResourceSet) -> bool:
        return target.get(self.type_url, name) is None and not target.lacks(self.type_url, name)


def _without_repeats(changes: list[Change]) -> tuple[Change, ...]:
    """Each resource once: Envoy refuses a response that names one twice."""
    seen: frozenset[str] = frozenset()
    kept: list[Change] = []
    for change in changes:
        if not change.updated:
            continue
        if seen and not seen.isdisjoint(change.names):
            change = Change(r for r in change.updated if r.name not in seen)  # noqa: PLW2901 the rest of the same change
        if change.updated:
            kept.append(change)
            seen = change.names if not seen else seen | change.names
    return tuple(kept)
