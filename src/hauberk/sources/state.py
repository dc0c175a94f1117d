"""The objects in memory, and what changed since a revision."""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.sources.change import Entry, Event, EventType
from hauberk.sources.problems import ResumeTooOld


class Entries(Protocol):
    """What can be asked of committed state and of a draft alike."""

    @property
    def revision(self) -> int: ...

    def entry(self, key: ObjectKey) -> Entry | None: ...

    def objects(self, kind: str) -> tuple[ApiObject, ...]: ...

    def kinds(self) -> Iterable[str]: ...


def key_order(item: ApiObject) -> tuple[str, str]:
    """The order in which objects of one kind are listed."""
    return item.metadata.namespace, item.metadata.name


class State:
    """Committed objects by kind, and every entry in the order of its last change.

    The order is what makes a watch cheap and its history bounded without an event log: what happened since a revision
    is the tail of the entries. Several changes to one object melt into its latest state, so a slow watcher costs no
    memory and catches up in one step. Only deleted entries have to be forgotten at some point.
    """

    def __init__(self, *, history: int) -> None:
        self._history = history
        self._journal: dict[str, Entry] = {}
        self._by_kind: dict[str, dict[ObjectKey, Entry]] = {}
        self._listed: dict[str, tuple[ApiObject, ...]] = {}
        self._deleted = 0
        self.revision = 0
        self.compacted = 0

    def entry(self, key: ObjectKey) -> Entry | None:
        """The living entry of a key."""
        return self._by_kind.get(key.kind, {}).get(key)

    def objects(self, kind: str) -> tuple[ApiObject, ...]:
        """All objects of a kind in order; the very same tuple until one of them changes."""
        listed = self._listed.get(kind)
        if listed is None:
            listed = tuple(sorted((entry.object for entry in self._by_kind.get(kind, {}).values()), key=key_order))
            self._listed[kind] = listed
        return listed

    def kinds(self) -> tuple[str, ...]:
        """The kinds of which the store has seen an object, in order of name."""
        return tuple(sorted(self._by_kind))

    def absorb(self, entries: Iterable[Entry]) -> None:
        """The entries, in order of revision, are part of the state."""
        for entry in entries:
            self._place(entry)
            self.revision = max(self.revision, entry.revision)

    def _place(self, entry: Entry) -> None:
        uid, key = entry.object.metadata.uid, entry.object.key
        before = self._journal.pop(uid, None)
        self._journal[uid] = entry
        living = self._by_kind.setdefault(key.kind, {})
        self._listed.pop(key.kind, None)
        if entry.deleted:
            self._deleted += before is None or not before.deleted
            present = living.get(key)
            if present is not None and present.object.metadata.uid == uid:
                del living[key]
        else:
            living[key] = entry

    def surplus(self, incoming: Iterable[Entry]) -> tuple[str, ...]:
        """The uids of the oldest deleted entries that are one too many once `incoming` is absorbed.

        A tenth more than needed is let go, so that a busy store compacts seldom.
        """
        count = self._deleted + sum(entry.deleted for entry in incoming) - self._history
        if count <= 0:
            return ()
        deleted = (uid for uid, entry in self._journal.items() if entry.deleted)
        return tuple(uid for uid, _ in zip(deleted, range(count + self._history // 10), strict=False))

    def forget(self, uids: Collection[str]) -> None:
        """The deleted entries are gone, and watches from before them cannot resume."""
        for uid in uids:
            entry = self._journal.pop(uid)
            self.compacted = max(self.compacted, entry.revision)
            self._deleted -= 1

    def compacted_after(self, uids: Collection[str]) -> int:
        """The oldest revision that can be resumed from once `uids` are forgotten."""
        return max((self.compacted, *(self._journal[uid].revision for uid in uids)))

    def events_since(self, since: int, kinds: frozenset[str] | None) -> tuple[Event, ...]:
        """What happened to objects of these kinds after `since`, oldest first."""
        if since < self.compacted or since > self.revision:
            raise ResumeTooOld(since, self.compacted)
        tail = [event for entry in self._tail(since) if (event := event_of(entry, since, kinds)) is not None]
        return tuple(reversed(tail))

    def present(self, kinds: frozenset[str] | None) -> tuple[Event, ...]:
        """All there is, as news to somebody who knows nothing; in order of last change, so that half of it can be resumed from."""
        living = (entry for entry in self._journal.values() if not entry.deleted)
        return tuple(event for entry in living if (event := event_of(entry, 0, kinds)) is not None)

    def _tail(self, since: int) -> Iterator[Entry]:
        for entry in reversed(self._journal.values()):
            if entry.revision <= since:
                return
            yield entry


def event_of(entry: Entry, since: int, kinds: frozenset[str] | None) -> Event | None:
    """What a watcher that knows everything up to `since` must hear about an entry."""
    if kinds is not None and entry.object.key.kind not in kinds:
        return None
    if entry.deleted:
        # Born and gone while the watcher was away: it never knew it.
        return None if entry.created > since else Event(EventType.DELETED, entry.object, entry.revision)
    return Event(EventType.ADDED if entry.created > since else EventType.MODIFIED, entry.object, entry.revision)
