"""What can go wrong between the store, its file and those who write to it."""

from pathlib import Path

from hauberk.kit.durable import NotKept


class StoreError(Exception):
    """The store cannot do its work; `hint` tells the operator what to do."""

    def __init__(self, message: str, *, path: Path, hint: str) -> None:
        super().__init__(f"{message} ({path}): {hint}")
        self.path = path
        self.hint = hint


class StoreUnwritable(StoreError, NotKept):
    """A change could not be made durable; nothing of it was kept, in memory neither."""


class StoreUnreadable(StoreError):
    """The file cannot be opened, or holds what this version cannot read."""


class StoreVersionUnknown(StoreError):
    """The file was written by a Hauberk whose schema this one does not know."""


class StoreBusy(StoreError):
    """Another process holds the file; there is one writer."""


class Conflict(Exception):
    """The object is not at the version the writer saw."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(f"{what} is at version {found or 'none'}, not at {expected or 'none'}: somebody else changed it")
        self.expected = expected
        self.found = found


class ResumeTooOld(Exception):
    """A watch cannot resume: what was deleted since is no longer remembered. List again."""

    def __init__(self, since: int, oldest: int) -> None:
        super().__init__(f"revision {since} cannot be resumed from (oldest is {oldest}): list the objects again and watch from there")
        self.since = since
        self.oldest = oldest
