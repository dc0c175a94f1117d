"""The writer of an audit log: what was appended is on the disk and under a signed tree head, in this order, whatever is killed when.

Only one process may have a log open. Records are written first, then their hashes, then the checkpoint: what stands behind the
checkpoint after a crash was never acknowledged, is whole or is cut off, and is taken on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hauberk.audit import merkle
from hauberk.audit.checkpoint import BadCheckpoint, Checkpoint, HeadSigner, read, sign
from hauberk.audit.files import HASH, LONGEST_RECORD, STEP, WIDTH, LogFiles, Segment

SEGMENT: Final = 16 * 1024 * 1024  # bytes of a file of records
KEPT: Final = 1024 * 1024 * 1024  # bytes of all of them; hashes are kept for ever (33 bytes a record)
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class AuditLogBusy(RuntimeError):
    """Another process has the log open."""


class AuditLogDamaged(RuntimeError):
    """What is on the disk is less than, or other than, what the newest checkpoint says."""


class AuditLog:
    """An open log, to be used by one thread at a time. `size` is the number of records, `checkpoint` the newest signed head."""

    def __init__(self, directory: Path, signer: HeadSigner, *, origin: str, segment_bytes: int = SEGMENT, kept_bytes: int = KEPT) -> None:
        self.files = LogFiles(directory)
        self._signer = signer
        self._origin = origin
        self._segment_bytes = segment_bytes
        self._kept_bytes = kept_bytes
        self._frontier: dict[int, list[bytes]] = {}  # by kept level: the hashes of the subtree that is not complete yet
        self._segment, self._segment_size = 0, 0  # the file that is written: its first record, its bytes
        for path in (directory, self.files.records, self.files.hashes):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(directory)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Another process may open it."""
        os.close(self._lock)

    def append(self, records: Sequence[bytes]) -> range:
        """Their numbers, when all are on the disk and under a new checkpoint.

        ValueError if one is empty, too long or holds the end of a line. OSError if the disk is full: then none of them is kept.
        """
        for record in records:
            if not record or b"\n" in record or len(record) > LONGEST_RECORD:
                raise ValueError("a record is one line of at most 64 kB")
        if not records:
            return range(self.size, self.size)
        begin = self.size
        written = _append(self.files.segment(self._segment).path, b"".join(record + b"\n" for record in records), before=self._segment_size)
        self._add([merkle.leaf_hash(record) for record in records])
        self._segment_size += written
        if self._segment_size >= self._segment_bytes:
            self._segment, self._segment_size = self.size, 0
            self._forget()
        return range(begin, self.size)

    # --- opening

    def _open(self) -> None:
        signed = self._signed()
        self._check(signed)
        self.size, self.checkpoint = signed.size, signed
        self._load_frontier()
        segments = self.files.segments()
        self._segment, self._segment_size = signed.size, 0
        if segments:
            self._take_on(segments[-1], signed.size)
        elif signed.size:
            raise AuditLogDamaged("the files of records are gone")
        # On a full disk a log that is whole can be opened.
        if not self.files.checkpoint.exists():
            self._add([])
        public = self._signer.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if not self.files.public_key.exists() or self.files.public_key.read_bytes() != public:
            _replace(self.files.public_key, public)

    def _take_on(self, last: Segment, size: int) -> None:
        """The file to write to. Whole records behind the checkpoint are taken on, unless the disk is full: nobody was told of them."""
        lines = list(last.lines())
        if last.first + len(lines) < size:
            raise AuditLogDamaged(f"{size} records are under the newest checkpoint, {last.first + len(lines)} are there")
        signed, behind = lines[: size - last.first], lines[size - last.first :]
        self._segment, self._segment_size = last.first, _bytes(signed)
        try:
            if behind:
                self._add([merkle.leaf_hash(line) for line in behind])
                self._segment_size += _bytes(behind)
        except OSError:
            pass
        os.truncate(last.path, self._segment_size)

    def _signed(self) -> Checkpoint:
        try:
            return read(self.files.checkpoint.read_text(), self._signer.public_key)
        except FileNotFoundError:
            if self.files.count(0):
                raise AuditLogDamaged("there are records and no checkpoint") from None
            return Checkpoint(origin=self._origin, size=0, root=merkle.EMPTY_ROOT)
        except (BadCheckpoint, UnicodeDecodeError) as exc:
            raise AuditLogDamaged(f"the checkpoint cannot be believed: {exc}") from exc

    def _check(self, signed: Checkpoint) -> None:
        """The hashes are those under the checkpoint; what was written behind it is cut off, to be computed again."""
        for path in self.files.hashes.iterdir():
            if path.name.isdigit():
                _cut(path, (signed.size >> int(path.name)) * HASH)
        try:
            found = merkle.root(signed.size, self.files.nodes)
        except (IndexError, FileNotFoundError):
            raise AuditLogDamaged(f"not all hashes of the {signed.size} records under the newest checkpoint are there") from None
        if found != signed.root:
            raise AuditLogDamaged(f"the hashes of the {signed.size} records are not those under the newest checkpoint")

    def _load_frontier(self) -> None:
        level = 0
        while True:
            complete = self.size >> level
            whole = complete >> STEP << STEP
            self._frontier[level] = [self.files.nodes(level, index) for index in range(whole, complete)]
            if not complete >> STEP:
                return
            level += STEP

    # --- writing

    def _add(self, leaves: list[bytes]) -> None:
        """The hashes of further records and of the subtrees that they complete, and a head over all of it.

        If the disk is full nothing of it counts: the next attempt writes over what this one has left.
        """
        level, hashes, size = 0, leaves, self.size + len(leaves)
        rows: dict[int, list[bytes]] = {}
        while hashes:
            _append(self.files.level(level), b"".join(hashes), before=(self.size >> level) * HASH)
            row = self._frontier.get(level, []) + hashes
            whole = len(row) & -WIDTH
            hashes = [merkle.root_of_leaves(row[at : at + WIDTH]) for at in range(0, whole, WIDTH)]
            rows[level] = row[whole:]
            level += STEP
        frontier = self._frontier | rows
        checkpoint = Checkpoint(origin=self._origin, size=size, root=merkle.root(size, _edge(size, frontier)))
        _replace(self.files.checkpoint, sign(checkpoint, self._signer).encode())
        self.size, self.checkpoint, self._frontier = size, checkpoint, frontier

    def _forget(self) -> None:
        """The oldest records, as many files as are too many; what was proven about them stays provable to who has them."""
        segments = [(each, each.path.stat().st_size) for each in self.files.segments()]
        total = sum(size for _, size in segments)
        for segment, size in segments[:-1]:
            if total <= self._kept_bytes:
                return
            segment.path.unlink()
            total -= size


def _bytes(lines: Sequence[bytes]) -> int:
    return sum(len(line) + 1 for line in lines)


def _edge(size: int, frontier: Mapping[int, list[bytes]]) -> merkle.Nodes:
    """The subtrees from which the root over `size` records is made, out of the hashes that are in memory."""

    def nodes(level: int, index: int) -> bytes:
        kept = level - level % STEP
        first = size >> kept & -WIDTH
        begin = (index << level - kept) - first
        return merkle.root_of_leaves(frontier[kept][begin : begin + (1 << level - kept)])

    return nodes


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AuditLogBusy(f"{directory} is open in another process") from None
    return descriptor


def _append(path: Path, data: bytes, *, before: int) -> int:
    """`data` is on the disk behind the first `before` bytes; what an earlier attempt left there is not. All or nothing."""
    descriptor = os.open(path, _APPEND, 0o600)
    try:
        os.ftruncate(descriptor, before)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
    return len(data)


def _cut(path: Path, size: int) -> None:
    if path.stat().st_size > size:
        os.truncate(path, size)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fdatasync(file.fileno())
    new.replace(path)
