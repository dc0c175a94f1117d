"""Where in the user's files something stands, if it came from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hauberk.api.finding import Location
from hauberk.api.metadata import ObjectKey
from hauberk.api.origin import Origin

_STEP = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|\['(?P<quoted>[^']*)'\]")


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A line of a file, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Origins:
    """The documents that objects were declared in; empty where objects come from a mesh, which keeps no files."""

    documents: Mapping[ObjectKey, Origin] = field(default_factory=dict)

    def place(self, key: ObjectKey, path: str = "") -> SourcePlace | None:
        """The line of the field at `path` (`spec.rules[0].from[1].source`) of the object."""
        origin = self.documents.get(key)
        if origin is None:
            return None
        line, _ = origin.locate(location_of(path), key=True)
        return SourcePlace(origin.file, line) if line else None


NO_ORIGINS = Origins()


def location_of(path: str) -> Location:
    """The steps of a path as `path_text` writes it."""
    steps: list[str | int] = []
    for found in _STEP.finditer(path):
        index = found["index"]
        steps.append(int(index) if index is not None else found["name"] or found["quoted"] or "")
    return tuple(steps)
