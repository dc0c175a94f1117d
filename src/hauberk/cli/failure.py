"""What a command says when it cannot do what was asked: what, why, what to do, and its exit code."""

from __future__ import annotations

from enum import IntEnum

from hauberk.cli.plain import printable


class Exit(IntEnum):
    """The exit codes of every command; `exec` and `run --attach` pass on the program's own instead.

    A command that `exec` cannot run ends as in a shell: with 127 if there is no such program, with 126 if it cannot be executed.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    TIMED_OUT = 4
    INTERRUPTED = 130


class Failure(Exception):
    """An operation that failed for a reason the caller can act on."""

    def __init__(self, what: str, why: str = "", remedy: str = "", code: int = Exit.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.code = code

    def lines(self) -> tuple[str, ...]:
        """What, why and what to do, one line each; a part that is not known is left out."""
        told = (("error: ", self.what), ("  why: ", self.why), ("   do: ", self.remedy))
        return tuple(lead + printable(text.strip().replace("\n", " ")) for lead, text in told if text)
