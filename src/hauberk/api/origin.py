"""Where an object was declared, and with it where each of its fields stands."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.api.finding import Finding, Location, path_text
from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem, problem
from hauberk.api.yaml_text import Node, locate, node_at

_AT_KEY = frozenset({"HBK0103", "HBK0202", "HBK0203", "HBK0204", "HBK0301"})  # the field itself is wrong, not its value


@dataclass(frozen=True, slots=True)
class Origin:
    """A document of a file; without `node` the object came from nowhere that a line could be told of."""

    file: str = ""
    node: Node | None = None

    @property
    def place(self) -> str:
        """file:line of the document."""
        return f"{self.file}:{self.node.line}" if self.node and self.node.line else self.file

    def locate(self, at: Location, *, key: bool = False, inner_line: int | None = None) -> tuple[int | None, int | None]:
        """Line and column of the field at `at`; `inner_line` counts within the multi-line text there."""
        if self.node is None or not self.node.line:
            return None, None
        if inner_line is not None and (text := node_at(self.node, at)) and text.block:
            return text.line + inner_line, 1
        return locate(self.node, at, key=key)

    def problem(self, finding: Finding, about: str) -> Problem:
        """The finding as a problem of the object `about`, with its place."""
        line, column = self.locate(finding.at, key=finding.code in _AT_KEY, inner_line=finding.line)
        return problem(
            finding.code,
            finding.message,
            severity=finding.severity,
            object=about,
            path=path_text(finding.at),
            file=self.file,
            line=line,
            column=column,
            remedy=finding.remedy,
        )


NOWHERE = Origin()


def duplicate(key: ObjectKey, first: Origin, second: Origin) -> Problem:
    """The problem of an object that is declared twice, at its second place."""
    return second.problem(Finding("HBK0109", (), f"{key} is declared already in {first.place}"), str(key))
