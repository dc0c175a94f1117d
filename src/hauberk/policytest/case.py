"""One expectation about one request, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hauberk.explain.explanation import Explanation, Outcome
from hauberk.explain.question import Question

IMPLICIT = "none"  # as `by`: no rule decides, but what follows from none having matched


class Expectation(StrEnum):
    """What becomes of a request. `DENY`: 403, 400, 404, or a connection that is refused or closed; `UNAUTHENTICATED`: 401."""

    ALLOW = "allow"
    DENY = "deny"
    UNAUTHENTICATED = "unauthenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test of a file. `by` is the deciding policy (NAMESPACE/NAME, or none), empty where any will do.

    `dry_run`: the verdict with that dry-run policy enforced; under the empty name with all of them.
    """

    name: str
    question: Question
    expect: Expectation
    by: str = ""
    dry_run: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFile:
    """What a file holds: names of the files with objects, relative to its own, and cases."""

    __test__ = False  # pytest takes every Test… for tests

    name: str
    objects: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a case: `faults` say what is not as expected, `error` why it could not be asked; neither: it passed."""

    case: Case
    got: str = ""
    faults: tuple[str, ...] = ()
    error: str = ""
    explanation: Explanation | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """It is as expected."""
        return not self.faults and not self.error

    @property
    def note(self) -> str:
        """Whose answer, which nobody knows, the verdict takes for granted; empty where there is none."""
        if self.explanation is None:
            return ""
        asked = (layer for answer in self.explanation.answers for layer in answer.layers if layer.name == "custom")
        return next((each.because for each in asked if each.outcome is Outcome.UNKNOWN), "")
