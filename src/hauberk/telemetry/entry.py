"""A line as it is kept and counted: between whom, and the little that is asked of many lines."""

from dataclasses import dataclass
from typing import NamedTuple

from hauberk.telemetry.layout import END_OF_HEAD
from hauberk.telemetry.record import Party

_END_OF_HEAD = END_OF_HEAD.encode()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Between:
    """What is the same for many lines, found out once and shared by them: compared by which one it is, not by what it says."""

    source: Party
    destination: Party
    outbound: bool = False  # the source's sidecar says so
    http: bool = True
    mutual: bool = False  # the other side has proven who it is
    head: bytes = b""  # what a line begins with, of a request; empty if a line says it itself


class Entry(NamedTuple):
    """One line. `time` is in microseconds since the epoch; `rest` is what stands behind the head, or all there is."""

    between: Between
    time: int
    denied: bool
    failed: bool  # a 5xx answer, or a connection that failed
    microseconds: int  # how long it took
    request_id: bytes
    rest: bytes

    @property
    def line(self) -> bytes:
        """As the sidecar wrote it."""
        return whole_line(self.between.head, self.rest)


def whole_line(head: bytes, rest: bytes) -> bytes:
    """A line of its parts."""
    return head + _END_OF_HEAD + rest if head else rest
