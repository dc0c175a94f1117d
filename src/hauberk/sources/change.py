"""Changes that go into the store and the events that come out of it."""

from dataclasses import dataclass, field
from enum import StrEnum

from hauberk.api.metadata import ApiObject, ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """The object shall be as given. `expect` is the resourceVersion it must have now ("" = it must not exist)."""

    object: ApiObject
    expect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """No object of this key shall exist."""

    key: ObjectKey
    expect: str | None = None


Change = Put | Delete


class EventType(StrEnum):
    """What happened to an object since the watcher last looked."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Event:
    """One object's change. `object` is its latest state, for DELETED the last one it had."""

    type: EventType
    object: ApiObject
    revision: int


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a question as of one revision, ordered by namespace and name."""

    items: tuple[ApiObject, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One life of one object: from its creation to its deletion. Recreated, it is another entry.

    `author` is who asked for its last change; history keeps it, the entry in the file does not.
    """

    object: ApiObject
    created: int
    revision: int
    deleted: bool = False
    author: str = field(default="", compare=False)
