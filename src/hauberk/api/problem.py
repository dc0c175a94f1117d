"""A located mistake of a user: data, not an exception. Imported by the CLI, so nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hauberk.api.problem_codes import CODES, Severity

_LONGEST_TEXT = 1000  # characters of a message or name: what quotes a value of a user's file may quote a very long one


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake; severity and remedy come from the table of codes unless given."""

    code: str
    message: str
    severity: Severity = "error"
    object: str = ""  # Kind/namespace/name
    path: str = ""
    file: str = ""
    line: int | None = None  # from 1
    column: int | None = None  # from 1
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The shape that the command line promises."""
        return {
            "code": self.code,
            "severity": self.severity,
            "object": self.object,
            "path": self.path,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "remedy": self.remedy,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Problem:
        """The problem that `to_json` wrote, also by a newer version with more fields."""
        return cls(**{name: document[name] for name in cls.__slots__ if name in document})

    @property
    def place(self) -> str:
        """file:line:column, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def __str__(self) -> str:
        where = " ".join(part for part in (self.place, self.object, self.path) if part)
        return f"{self.severity} {self.code}: {where}{': ' if where else ''}{self.message}"


def problem(
    code: str,
    message: str,
    *,
    severity: Severity | None = None,
    object: str = "",
    path: str = "",
    file: str = "",
    line: int | None = None,
    column: int | None = None,
    remedy: str | None = None,
) -> Problem:
    """A problem with the severity and the remedy of its code, unless others are given."""
    known = CODES[code]
    return Problem(
        code=code,
        message=_shortened(message),
        severity=severity or known.severity,
        object=_shortened(object),
        path=_shortened(path),
        file=file,
        line=line,
        column=column,
        remedy=known.remedy if remedy is None else remedy,
    )


def _shortened(text: str) -> str:
    """The text, without the middle of one that nobody would read."""
    half = _LONGEST_TEXT // 2
    return text if len(text) <= _LONGEST_TEXT else f"{text[:half]} … {text[-half:]}"


def has_errors(problems: Iterable[Problem]) -> bool:
    """An apply with these problems changes nothing."""
    return any(each.severity == "error" for each in problems)
