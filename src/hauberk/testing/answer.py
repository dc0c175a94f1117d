"""What a test gets back: the outcome of a command, of a request, and the ways in which they fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class MeshFailed(AssertionError):
    """The mesh refused or could not do what the test asked for; the message says what it said."""


class ConnectionFailed(ConnectionError):
    """The program got no answer: refused, reset, closed or timed out. `reason` is what the program saw."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target}: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran inside a pod and ended."""

    exit_code: int
    stdout: str
    stderr: str

    def check(self) -> Completed:
        """Itself, if the command succeeded; MeshFailed with what it printed if it did not."""
        if self.exit_code != 0:
            raise MeshFailed(f"exit code {self.exit_code}\n{self.stdout}{self.stderr}")
        return self


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request that a pod made. Header names are lower-case; of a repeated one the last is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)
