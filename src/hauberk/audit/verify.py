"""Whether an audit log is whole: nothing altered, removed, inserted or put elsewhere, and nothing cut off since an older head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from hauberk.audit import merkle
from hauberk.audit.checkpoint import BadCheckpoint, Checkpoint, read
from hauberk.audit.files import LogFiles, Segment

MOST: Final = 20  # faults that are told; the others are of the same kind


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: `faults` is empty if the log is whole. Records before `first` are no longer kept, only their hashes."""

    size: int
    first: int
    root: bytes
    faults: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not self.faults


@dataclass(slots=True)
class _Faults:
    told: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if len(self.told) < MOST:
            self.told.append(text)


def verify(files: LogFiles, key: EllipticCurvePublicKey, anchors: tuple[str, ...] = ()) -> Verification:
    """Every record against its hash, all hashes against the signed head, and the log against older heads (`anchors`, signed notes).

    Without an anchor that was kept elsewhere, who holds the log's key could have written all of it anew.
    """
    faults = _Faults()
    head = _read(files, key, faults)
    segments = files.segments()
    first = segments[0].first if segments else 0
    known = [checkpoint for checkpoint in (_anchor(note, key, faults) for note in anchors) if checkpoint is not None]
    sizes = {head.size: "the newest checkpoint", **{each.size: f"the anchor at {each.size}" for each in known}}
    leaves = _leaves(files, segments, first, head.size, faults)
    roots = _roots(leaves, sizes)
    for checkpoint in (head, *known):
        if checkpoint.size > head.size:
            faults.add(f"the anchor stands for {checkpoint.size} records, the log has {head.size}: its end was cut off")
        elif roots.get(checkpoint.size) != checkpoint.root:
            faults.add(f"the first {checkpoint.size} records are not those under {sizes[checkpoint.size]}")
    return Verification(head.size, first, head.root, tuple(faults.told))


def _read(files: LogFiles, key: EllipticCurvePublicKey, faults: _Faults) -> Checkpoint:
    try:
        return read(files.checkpoint.read_text(), key)
    except (OSError, UnicodeDecodeError, BadCheckpoint) as exc:
        faults.add(f"the checkpoint cannot be believed: {exc}")
        return Checkpoint(origin="", size=0, root=merkle.EMPTY_ROOT)


def _anchor(note: str, key: EllipticCurvePublicKey, faults: _Faults) -> Checkpoint | None:
    try:
        return read(note, key)
    except BadCheckpoint as exc:
        faults.add(f"an anchor cannot be believed: {exc}")
        return None


def _leaves(files: LogFiles, segments: tuple[Segment, ...], first: int, size: int, faults: _Faults) -> Iterator[bytes]:
    """The hashes of the first `size` records: the kept ones of those that are gone, computed ones of the others."""
    yield from files.leaves(0, min(first, size))
    number = first
    for segment in segments:
        if segment.first != number:
            missing = f"records {number} to {segment.first - 1} are missing"
            faults.add(missing if segment.first > number else f"{segment.path.name} begins with records that stand before it")
            yield from files.leaves(number, min(segment.first, size))
            number = segment.first
        kept = files.leaves(number, size)
        for line in segment.lines():
            if number >= size:
                break  # written and not yet acknowledged
            leaf = merkle.leaf_hash(line)
            if leaf != next(kept, None):
                faults.add(f"record {number} ({segment.path.name}, line {number - segment.first + 1}) is not what was written")
            yield leaf
            number += 1
    if number < size:
        faults.add(f"records {number} to {size - 1} are missing")


def _roots(leaves: Iterator[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The root after each of `sizes` records, as far as there are so many."""
    wanted, tree = sorted(sizes), merkle.Growing()
    found = {}
    for size in wanted:
        while tree.size < size and (leaf := next(leaves, None)) is not None:
            tree.add(leaf)
        if tree.size == size:
            found[size] = tree.root
    for _ in leaves:
        pass  # faults in what stands behind
    return found
