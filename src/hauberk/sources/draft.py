"""A transaction in the making: committed state and what is about to change."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast

from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.sources.change import Change, Delete, Entry, Put
from hauberk.sources.problems import Conflict
from hauberk.sources.state import Entries, key_order

T = TypeVar("T", bound=ApiObject)

SERVER_FIELDS = frozenset({"metadata", "status"})  # everything else is what the user wants: a change of it is a new generation


@dataclass(frozen=True, slots=True)
class Stamps:
    """Where the values come from that only a server may give."""

    now: Callable[[], datetime]
    make_uid: Callable[[], str]


class Draft:
    """What the objects will be once this transaction is durable. Reading it sees its own changes."""

    def __init__(self, committed: Entries, stamps: Stamps, *, author: str = "") -> None:
        self._committed = committed
        self._stamps = stamps
        self._author = author
        self._changed: dict[ObjectKey, Entry] = {}
        self._ended: list[Entry] = []
        self.revision = committed.revision

    def fork(self, *, author: str = "") -> "Draft":
        """A draft on top of the committed state and this one's changes; `author` makes the further ones."""
        child = Draft(self._committed, self._stamps, author=author)
        child._changed, child._ended, child.revision = dict(self._changed), list(self._ended), self.revision
        return child

    def entries(self) -> tuple[Entry, ...]:
        """All that has to be written, in order of revision."""
        return tuple(sorted((*self._ended, *self._changed.values()), key=lambda entry: entry.revision))

    def entry(self, key: ObjectKey) -> Entry | None:
        """The living entry of a key as this draft leaves it."""
        changed = self._changed.get(key)
        if changed is None:
            return self._committed.entry(key)
        return None if changed.deleted else changed

    def get(self, key: ObjectKey) -> ApiObject | None:
        """The object of a key, if there is one."""
        entry = self.entry(key)
        return None if entry is None else entry.object

    def find(self, model: type[T], namespace: str, name: str) -> T | None:
        """The object of a kind by name, typed."""
        return cast("T | None", self.get(ObjectKey(model.__name__, namespace, name)))

    def objects(self, kind: str) -> tuple[ApiObject, ...]:
        """All objects of a kind in order."""
        committed = self._committed.objects(kind)
        changed = {key: entry for key, entry in self._changed.items() if key.kind == kind}
        if not changed:
            return committed
        kept = [item for item in committed if item.key not in changed]
        kept.extend(entry.object for entry in changed.values() if not entry.deleted)
        return tuple(sorted(kept, key=key_order))

    def of(self, model: type[T], namespace: str | None = None) -> tuple[T, ...]:
        """All objects of a kind, typed; of one namespace if one is given."""
        found = cast("tuple[T, ...]", self.objects(model.__name__))
        return found if namespace is None else tuple(item for item in found if item.metadata.namespace == namespace)

    def kinds(self) -> Iterable[str]:
        """The kinds of which there is or was an object."""
        return sorted({*self._committed.kinds(), *(key.kind for key in self._changed)})

    def apply(self, changes: Iterable[Change]) -> None:
        """All changes are part of the draft; raises Conflict when one expected another version."""
        for change in changes:
            match change:
                case Put():
                    self.put(change.object, expect=change.expect)
                case Delete():
                    self.delete(change.key, expect=change.expect)

    def put(self, item: ApiObject, *, expect: str | None = None) -> ApiObject:
        """The object as stored: stamped, and with a new revision if anything in it differs from what is there."""
        present = self.entry(item.key)
        _check_expected(item.key, present, expect)
        stamped = self._stamp(item, present)
        if present is not None and stamped == present.object:
            return present.object
        self.revision += 1
        stored = _with_metadata(stamped, resource_version=str(self.revision))
        self._changed[item.key] = Entry(stored, present.created if present else self.revision, self.revision, author=self._author)
        return stored

    def delete(self, key: ObjectKey, *, expect: str | None = None) -> ApiObject | None:
        """The object that is no more; nothing happens if there was none."""
        present = self.entry(key)
        _check_expected(key, present, expect)
        if present is None:
            return None
        self.revision += 1
        last = _with_metadata(present.object, resource_version=str(self.revision))
        self._changed[key] = Entry(last, present.created, self.revision, deleted=True, author=self._author)
        return last

    def _stamp(self, item: ApiObject, present: Entry | None) -> ApiObject:
        if present is None:
            self._keep_ended(item.key)
            return _with_metadata(
                item, uid=self._stamps.make_uid(), creation_timestamp=self._stamps.now(), generation=1, resource_version=""
            )
        was = present.object.metadata
        return _with_metadata(
            item,
            uid=was.uid,
            creation_timestamp=was.creation_timestamp,
            resource_version=was.resource_version,
            generation=was.generation + (not same_intent(item, present.object)),
        )

    def _keep_ended(self, key: ObjectKey) -> None:
        # Deleted and made anew in one draft: the old life's end has to be written too, or it would live on in the file.
        changed = self._changed.get(key)
        if changed is not None and changed.deleted:
            self._ended.append(changed)


def same_intent(one: ApiObject, other: ApiObject) -> bool:
    """Whether the two want the same, whatever their metadata and status say."""
    fields = type(one).model_fields.keys() - SERVER_FIELDS
    return type(one) is type(other) and all(getattr(one, field) == getattr(other, field) for field in fields)


def _with_metadata(item: T, **values: object) -> T:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=values)})


def _check_expected(key: ObjectKey, present: Entry | None, expect: str | None) -> None:
    found = "" if present is None else present.object.metadata.resource_version
    if expect is not None and found != expect:
        raise Conflict(f"{key.kind}/{key.namespace}/{key.name}", expect, found or "")
