"""The tree: published vectors, every proof of sizes 1 to 64, and proofs that are none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvariantError
from ledger.binder.forest import Forest
from ledger.chain import leaf_hash
from ledger.tree import (
    EMPTY_ROOT,
    Frontier,
    is_consistent,
    is_included,
    root_of,
)

SIZE_MAX = 64


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    return Forest(leaves).inclusion(index)


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    return Forest(leaves).consistency(old_size)


# The test vectors of google/certificate-transparency (merkle_tree_test), eight leaves.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
          "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]


@cache
def _leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"event %d" % number) for number in range(size)]


def _hex(proof: Sequence[bytes]) -> list[str]:
    return [node.hex() for node in proof]


def _naive_root(leaves: Sequence[bytes]) -> bytes:
    """The definition of RFC 9162, section 2.1.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    both = _naive_root(leaves[:cut]) + _naive_root(leaves[cut:])
    return hashlib.sha256(b"\x01" + both).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_root_is_the_published_one(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_root_of_nothing_is_the_published_one() -> None:
    assert root_of([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (0, 8, [A, B, C]),
        (5, 8, [D, E, ROOTS[3]]),
        (2, 3, [ROOTS[1]]),
        (1, 5, [ROOTS[0], B, D]),
    ],
)
def test_inclusion_proof_is_the_published_one(index: int, size: int, proof: list[str]) -> None:
    assert _hex(inclusion_proof(LEAVES[:size], index)) == proof


@pytest.mark.parametrize(
    ("old_size", "size", "proof"),
    [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[3]]), (2, 5, [B, D])],
)
def test_consistency_proof_is_the_published_one(old_size: int, size: int, proof: list[str]) -> None:
    assert _hex(consistency_proof(LEAVES[:size], old_size)) == proof


def test_root_follows_the_definition_at_every_size() -> None:
    frontier = Frontier()
    for size in range(SIZE_MAX + 1):
        assert frontier.size == size
        assert frontier.root() == _naive_root(_leaves(size)) == root_of(_leaves(size))
        frontier.push(_leaves(SIZE_MAX + 1)[size])


def test_odd_last_leaf_is_not_doubled() -> None:
    """The mistake that gives two ledgers one root (CVE-2012-2459 in Bitcoin)."""
    for size in range(1, SIZE_MAX, 2):
        leaves = _leaves(size)
        assert root_of([*leaves, leaves[-1]]) != root_of(leaves)


def test_every_leaf_of_every_size_is_proven_and_no_other() -> None:
    for size in range(1, SIZE_MAX + 1):
        leaves, root = _leaves(size), root_of(_leaves(size))
        for index, leaf in enumerate(leaves):
            proof = inclusion_proof(leaves, index)
            assert len(proof) <= (size - 1).bit_length()
            assert is_included(leaf, index, size, proof, root)
            assert not is_included(leaf_hash(b"other"), index, size, proof, root)


@pytest.mark.slow
def test_inclusion_proof_holds_for_its_place_alone() -> None:
    """Each proof against every index of its tree: a leaf is proven at one place only."""
    for size in range(1, SIZE_MAX + 1):
        leaves, root = _leaves(size), root_of(_leaves(size))
        for index, leaf in enumerate(leaves):
            proof = inclusion_proof(leaves, index)
            holds = [n for n in range(-1, size + 2) if is_included(leaf, n, size, proof, root)]
            assert holds == [index]


def test_every_older_tree_is_proven_to_be_extended_and_no_other() -> None:
    roots = [root_of(_leaves(size)) for size in range(SIZE_MAX + 1)]
    for size in range(1, SIZE_MAX + 1):
        for old_size in range(1, size + 1):
            proof = consistency_proof(_leaves(size), old_size)
            assert is_consistent(old_size, size, roots[old_size], roots[size], proof)
            assert not is_consistent(old_size, size, leaf_hash(b"x"), roots[size], proof)
            assert not is_consistent(old_size, size, roots[old_size], leaf_hash(b"x"), proof)
            # An old tree that differs in its first leaf was rewritten, not extended.
            other = root_of([leaf_hash(b"forged"), *_leaves(old_size)[1:]])
            assert not is_consistent(old_size, size, other, roots[size], proof)


def _spoilt(proof: list[bytes]) -> list[list[bytes]]:
    """Return proofs that look alike: too long, too short, swapped, with a bit turned."""
    stray = leaf_hash(b"stray")
    found = [[*proof, stray], [stray, *proof], [*proof, *proof[-1:], stray], proof[:-1], proof[1:]]
    found += [[*proof[:n], *proof[n:][1::-1], *proof[n + 2 :]] for n in range(len(proof) - 1)]
    for number, node in enumerate(proof):
        turned = bytes([node[0] ^ 1]) + node[1:]
        found += [
            [*proof[:number], turned, *proof[number + 1 :]],
            [*proof[:number], node[:31], *proof[number + 1 :]],
            [*proof[:number], b"", *proof[number + 1 :]],
        ]
    return [other for other in found if other != proof]


def test_spoilt_inclusion_proofs_are_refused() -> None:
    for size in range(1, 18):
        leaves, root = _leaves(size), root_of(_leaves(size))
        for index, leaf in enumerate(leaves):
            for proof in _spoilt(inclusion_proof(leaves, index)):
                assert not is_included(leaf, index, size, proof, root), (index, size)


def test_spoilt_consistency_proofs_are_refused() -> None:
    roots = [root_of(_leaves(size)) for size in range(18)]
    for size in range(1, 18):
        for old_size in range(1, size + 1):
            for proof in _spoilt(consistency_proof(_leaves(size), old_size)):
                assert not is_consistent(old_size, size, roots[old_size], roots[size], proof)


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0), (0, -1), (3, 2)])
def test_inclusion_at_a_place_that_is_not_there_is_refused(index: int, size: int) -> None:
    assert not is_included(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("old_size", "size"), [(0, 8), (0, 0), (-1, 8), (9, 8), (8, 0), (1, -1)])
def test_consistency_of_sizes_that_cannot_be_is_refused(old_size: int, size: int) -> None:
    root = root_of(LEAVES)
    assert not is_consistent(old_size, size, root, root, [])
    assert not is_consistent(old_size, size, root, root, [root])


def test_consistency_proof_does_not_hold_for_another_old_size() -> None:
    """A proof between two sizes says nothing about a third, whose root it was not made with."""
    roots = [root_of(_leaves(size)) for size in range(SIZE_MAX + 1)]
    for size in range(2, 34):
        for old_size in range(1, size):
            proof = consistency_proof(_leaves(size), old_size)
            for other in range(1, size):
                if other != old_size:
                    assert not is_consistent(other, size, roots[old_size], roots[size], proof)


@given(
    size=st.integers(1, 2**40),
    index=st.integers(0, 2**40),
    proof=st.lists(st.binary(min_size=32, max_size=32), max_size=45),
    root=st.binary(min_size=32, max_size=32),
)
def test_random_proofs_prove_nothing(
    size: int, index: int, proof: list[bytes], root: bytes
) -> None:
    assert not is_included(LEAVES[0], index, size, proof, root)
    assert not is_consistent(index, size, EMPTY_ROOT, root, proof)


def test_proof_of_what_is_not_there_is_our_mistake() -> None:
    for index in (-1, 8):
        with pytest.raises(InvariantError, match="index was"):
            inclusion_proof(LEAVES, index)
    for old_size in (0, 9):
        with pytest.raises(InvariantError, match="old size was"):
            consistency_proof(LEAVES, old_size)
