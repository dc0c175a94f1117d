"""Where an audit log keeps what: records in segments, hashes by level, the newest checkpoint. Reading only.

records/000000000000.jsonl   the records from this number on, a line each
hashes/0, hashes/8, …        of all records ever, the hashes of complete subtrees of that level, 32 bytes each
checkpoint                   the newest signed tree head
verifier-key                 the public key that signs them
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hauberk.audit import merkle

HASH: Final = 32  # bytes
STEP: Final = 8  # levels between two that are kept: what lies between is computed of at most 256 hashes
WIDTH: Final = 1 << STEP
LONGEST_RECORD: Final = 64 * 1024  # bytes of a line


@dataclass(frozen=True, slots=True)
class Segment:
    """A file with the records from number `first` on."""

    first: int
    path: Path

    def lines(self) -> Iterator[bytes]:
        """The records, without their line's end; a last line that has none is not there."""
        with self.path.open("rb") as file:
            while line := file.readline(LONGEST_RECORD + 1):
                if line.endswith(b"\n"):
                    yield line[:-1]
                elif len(line) > LONGEST_RECORD:
                    yield line  # nobody wrote this: it is no record, whatever its hash


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of the log in `directory`."""

    directory: Path

    @property
    def records(self) -> Path:
        return self.directory / "records"

    @property
    def hashes(self) -> Path:
        return self.directory / "hashes"

    @property
    def checkpoint(self) -> Path:
        return self.directory / "checkpoint"

    @property
    def public_key(self) -> Path:
        return self.directory / "public-key.pem"

    def segment(self, first: int) -> Segment:
        """The segment that begins with record `first`, whether it exists or not."""
        return Segment(first, self.records / f"{first:012d}.jsonl")

    def segments(self) -> tuple[Segment, ...]:
        """Those that there are, oldest first."""
        names = sorted(path.stem for path in self.records.glob("*.jsonl"))
        return tuple(self.segment(int(name)) for name in names if name.isdigit())

    def level(self, level: int) -> Path:
        """The file of hashes of one level."""
        return self.hashes / str(level)

    def count(self, level: int) -> int:
        """How many whole hashes of `level` are kept."""
        try:
            return self.level(level).stat().st_size // HASH
        except FileNotFoundError:
            return 0

    def leaves(self, begin: int, end: int) -> Iterator[bytes]:
        """The kept hashes of these records; fewer if there are not so many."""
        if not self.count(0):
            return
        with self.level(0).open("rb") as file:
            file.seek(begin * HASH)
            for _ in range(begin, end):
                found = file.read(HASH)
                if len(found) != HASH:
                    return
                yield found

    def nodes(self, level: int, index: int) -> bytes:
        """The root of a complete subtree (`merkle.Nodes`); IndexError if its records are not all there."""
        kept = level // STEP * STEP
        width = 1 << level - kept
        with self.level(kept).open("rb") as file:
            found = os.pread(file.fileno(), width * HASH, index * width * HASH)
        if len(found) != width * HASH:
            raise IndexError(f"the log has no subtree {index} of level {level}")
        return merkle.root_of_leaves(found[at : at + HASH] for at in range(0, len(found), HASH))


def read_record(files: LogFiles, number: int) -> bytes | None:
    """The record `number`, None if it is not (or no longer) kept."""
    segment = next((each for each in reversed(files.segments()) if each.first <= number), None)
    if segment is None:
        return None
    return next((line for at, line in enumerate(segment.lines(), segment.first) if at == number), None)
