"""The Merkle tree of RFC 9162 over the leaf hashes of the chain, with short proofs.

An odd node goes up as it is and is never doubled: doubling gives two different ledgers one root.
Leaves come hashed (``ledger.chain.leaf_hash``); indices are from 0, so event ``seq`` is leaf
``seq - 1``. ``Frontier`` is what the writer keeps: one hash a set bit of the size.
Source: RFC 9162, sections 2.1.1 to 2.1.4; tests hold it to the vectors of certificate-transparency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from core.errors import InvariantError

EMPTY_ROOT = hashlib.sha256(b"").digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree, kept as the roots of its complete subtrees, largest first."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._roots: list[bytes] = []
        for leaf in leaves:
            self.push(leaf)

    @classmethod
    def at(cls, size: int, roots: Sequence[bytes]) -> Frontier:
        """Return the tree of ``size`` leaves whose complete subtrees have these roots.

        Errors: ``InvariantError`` unless there is one a set bit of the size.
        """
        if size.bit_count() != len(roots):
            raise InvariantError(f"a tree of {size} leaves has not {len(roots)} subtrees")
        tree = cls()
        tree.size, tree._roots = size, list(roots)
        return tree

    @property
    def roots(self) -> tuple[bytes, ...]:
        """Roots of the complete subtrees, largest first."""
        return tuple(self._roots)

    def push(self, leaf: bytes) -> None:
        """Add one leaf hash: one more node hash on average, log2(size) at most."""
        roots, size = self._roots, self.size
        while size & 1:
            leaf = node_hash(roots.pop(), leaf)
            size >>= 1
        roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of everything pushed so far; at most log2(size) node hashes."""
        if not self._roots:
            return EMPTY_ROOT
        found = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            found = node_hash(left, found)
        return found


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes; that of no leaves is SHA-256 of nothing."""
    return Frontier(leaves).root()


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether ``proof`` shows leaf hash ``leaf`` at ``index`` of the tree with ``root``."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            place, last = _up_to_right_child(place, last)
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(
    old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether ``proof`` shows that the tree with ``root`` extends the one with ``old_root``.

    An old size of 0 is refused: that everything extends nothing proves nothing.
    """
    if old_size == size > 0:
        return not proof and old_root == root
    if not 0 < old_size < size or not proof:
        return False
    nodes = list(proof)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_found = found = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_found, found = node_hash(node, old_found), node_hash(node, found)
            place, last = _up_to_right_child(place, last)
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root


def _up_to_right_child(place: int, last: int) -> tuple[int, int]:
    """Skip the levels where a lonely node went up as it is."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last
