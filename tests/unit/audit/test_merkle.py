"""The Merkle tree and its proofs, against the definitions of RFC 9162 written down once more."""

from __future__ import annotations

from hashlib import sha256

import pytest

from hauberk.audit import merkle

_SIZES = range(1, 34)


def _defined(leaves: list[bytes]) -> bytes:
    """The root as section 2.1.1 defines it, by recursion."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + _defined(leaves[:half]) + _defined(leaves[half:])).digest()


def _leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(size)]


def _nodes(leaves: list[bytes]) -> merkle.Nodes:
    return lambda level, index: _defined(leaves[index << level : (index + 1) << level])


def test_a_record_is_never_taken_for_two_hashes() -> None:
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@pytest.mark.parametrize("size", [0, *_SIZES])
def test_the_root_is_that_of_the_definition(size: int) -> None:
    leaves = _leaves(size)
    assert merkle.root_of_leaves(leaves) == _defined(leaves) == merkle.root(size, _nodes(leaves))


@pytest.mark.parametrize("size", _SIZES)
def test_each_record_is_proven_and_no_other(size: int) -> None:
    leaves = _leaves(size)
    wanted, nodes = _defined(leaves), _nodes(leaves)
    for index, leaf in enumerate(leaves):
        proof = merkle.inclusion_proof(index, size, nodes)
        assert merkle.proves_inclusion(leaf, index, size, proof, wanted)
        assert not merkle.proves_inclusion(merkle.leaf_hash(b"forged"), index, size, proof, wanted)
        assert not merkle.proves_inclusion(leaf, index, size, (*proof, wanted), wanted)
        for elsewhere in {(index + 1) % size, 0} - {index}:
            assert not merkle.proves_inclusion(leaf, elsewhere, size, proof, wanted)


@pytest.mark.parametrize("newer", _SIZES)
def test_every_beginning_is_proven_and_nothing_else(newer: int) -> None:
    leaves = _leaves(newer)
    for older in range(newer + 1):
        proof = merkle.consistency_proof(older, newer, _nodes(leaves))
        before, now = _defined(leaves[:older]), _defined(leaves)
        assert merkle.proves_consistency(older, newer, proof, before, now)
        changed = [*leaves[:-1], merkle.leaf_hash(b"forged")]
        assert not merkle.proves_consistency(older, newer, proof, before, _defined(changed)) or older == 0
        if older > 1:
            assert not merkle.proves_consistency(older, newer, proof, _defined(leaves[1:older]), now)


def test_what_is_no_beginning_is_refused() -> None:
    nodes = _nodes(_leaves(4))
    with pytest.raises(ValueError, match="no record 4"):
        merkle.inclusion_proof(4, 4, nodes)
    with pytest.raises(ValueError, match="not a beginning"):
        merkle.consistency_proof(5, 4, nodes)
    assert not merkle.proves_inclusion(b"", 4, 4, (), b"")
    assert not merkle.proves_consistency(5, 4, (b"",), b"", b"")
