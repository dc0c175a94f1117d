"""The Merkle tree of certificate transparency over a list of records (RFC 9162, 2.1): its root, and proofs about it.

A tree is asked through `Nodes`: the hash of any complete subtree, wherever it is kept. All sizes are numbers of records, all hashes
SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

# `nodes(level, index)`: the root of the records from index * 2**level on, 2**level of them.
Nodes = Callable[[int, int], bytes]

EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(record: bytes) -> bytes:
    """The hash of one record; the zero keeps it apart from that of two hashes."""
    return sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


class Growing:
    """A tree that leaves (hashes of records) are added to, in little memory."""

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []  # subtrees from the left, as many as `size` has ones, each smaller than the one before

    def add(self, leaf: bytes) -> None:
        """One more; every subtree that it completes is joined with the one to its left."""
        node, size = leaf, self.size
        while size & 1:
            node = node_hash(self._complete.pop(), node)
            size >>= 1
        self._complete.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """Over all that were added."""
        return _joined(list(self._complete))


def root_of_leaves(leaves: Iterable[bytes]) -> bytes:
    """The root over all `leaves`."""
    tree = Growing()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root


def root(size: int, nodes: Nodes) -> bytes:
    """The root over the first `size` records."""
    return _joined([nodes(level, index) for level, index in _complete(0, size)])


def inclusion_proof(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """What, with the record itself, gives the root over `size` records (2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"there is no record {index} among {size}")
    return tuple(_path(index, 0, size, nodes))


def consistency_proof(older: int, newer: int, nodes: Nodes) -> tuple[bytes, ...]:
    """What shows that the first `older` records of `newer` are those over which the older root stood (2.1.4.1)."""
    if not 0 <= older <= newer:
        raise ValueError(f"{older} records are not a beginning of {newer}")
    return tuple(_extension(older, 0, newer, nodes, known=True)) if 0 < older < newer else ()


def proves_inclusion(leaf: bytes, index: int, size: int, proof: Iterable[bytes], wanted: bytes) -> bool:
    """`leaf` is the record `index` of the tree with the root `wanted` (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    here, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            node = node_hash(sibling, node)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and node == wanted


def proves_consistency(older: int, newer: int, proof: tuple[bytes, ...], older_root: bytes, newer_root: bytes) -> bool:
    """The tree with `newer_root` begins with the records of the one with `older_root` (2.1.4.2)."""
    if older == 0:
        return not proof and older_root == EMPTY_ROOT
    if older == newer:
        return not proof and older_root == newer_root
    if older > newer or not proof:
        return False
    path = (older_root, *proof) if older & (older - 1) == 0 else proof
    here, last = older - 1, newer - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    first = second = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            first, second = node_hash(node, first), node_hash(node, second)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            second = node_hash(second, node)
        here, last = here >> 1, last >> 1
    return last == 0 and first == older_root and second == newer_root


def _complete(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees that make up the records from `begin` (where one of that size may begin) to `end`, from the left."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level


def _joined(nodes: list[bytes]) -> bytes:
    if not nodes:
        return EMPTY_ROOT
    made = nodes.pop()
    while nodes:
        made = node_hash(nodes.pop(), made)
    return made


def _range(begin: int, end: int, nodes: Nodes) -> bytes:
    return _joined([nodes(level, index) for level, index in _complete(begin, end)])


def _split(begin: int, end: int) -> int:
    """Where the left subtree of these records ends: the largest power of two that is smaller than their number."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def _path(index: int, begin: int, end: int, nodes: Nodes) -> Iterator[bytes]:
    if end - begin == 1:
        return
    middle = _split(begin, end)
    if index < middle:
        yield from _path(index, begin, middle, nodes)
        yield _range(middle, end, nodes)
    else:
        yield from _path(index, middle, end, nodes)
        yield _range(begin, middle, nodes)


def _extension(older: int, begin: int, end: int, nodes: Nodes, *, known: bool) -> Iterator[bytes]:
    # `known`: who asks has the root over the older records up to here.
    if older == end:
        if not known:
            yield _range(begin, end, nodes)
        return
    middle = _split(begin, end)
    if older <= middle:
        yield from _extension(older, begin, middle, nodes, known=known)
        yield _range(middle, end, nodes)
    else:
        yield from _extension(older, middle, end, nodes, known=False)
        yield _range(begin, middle, nodes)
