"""The Merkle tree over a whole ledger, kept so that many proofs are quick.

Every complete subtree is hashed once: 64 bytes a leaf, and a proof costs log2(size) look-ups.
Source: RFC 9162, sections 2.1.3 and 2.1.4. ``ledger.tree`` checks such proofs.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import InvariantError
from ledger.tree import EMPTY_ROOT, node_hash

_HASH_BYTES = 32


class Forest:
    """All complete subtrees over leaf hashes; leaf 0 is event 1."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        level = bytearray()
        for leaf in leaves:
            level += leaf
        self.size = len(level) // _HASH_BYTES
        self._levels = [level]
        while len(self._levels[-1]) >= 2 * _HASH_BYTES:
            self._levels.append(_above(self._levels[-1]))

    def _at(self, level: int, place: int) -> bytes:
        start = place * _HASH_BYTES
        return bytes(self._levels[level][start : start + _HASH_BYTES])

    def _root(self, low: int, high: int) -> bytes:
        """Return the root over leaves ``low`` up to ``high``, as the tree cuts them."""
        count = high - low
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self._at(level, low >> level)
        cut = low + _split(count)
        return node_hash(self._root(low, cut), self._root(cut, high))

    def root(self) -> bytes:
        """Return the root of the whole tree."""
        return self._root(0, self.size) if self.size else EMPTY_ROOT

    def frontier(self, size: int) -> list[bytes]:
        """Return the roots of the complete subtrees of the first ``size`` leaves, largest first."""
        roots, low = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                roots.append(self._at(level, low >> level))
                low += 1 << level
        return roots

    def inclusion(self, index: int) -> list[bytes]:
        """Return the proof that leaf ``index`` is in the whole tree, lowest node first."""
        if not 0 <= index < self.size:
            raise InvariantError(f"index was {index}, the tree has {self.size} leaves")
        proof, low, high = [], 0, self.size
        while high - low > 1:
            cut = low + _split(high - low)
            if index < cut:
                proof.append(self._root(cut, high))
                high = cut
            else:
                proof.append(self._root(low, cut))
                low = cut
        return proof[::-1]

    def consistency(self, old_size: int) -> list[bytes]:
        """Return the proof that the whole tree extends its first ``old_size`` leaves."""
        if not 0 < old_size <= self.size:
            raise InvariantError(f"old size was {old_size}, allowed is 1 to {self.size}")
        proof, low, high, is_old_root_known = [], 0, self.size, True
        while old_size < high:
            cut = low + _split(high - low)
            if old_size <= cut:
                proof.append(self._root(cut, high))
                high = cut
            else:
                proof.append(self._root(low, cut))
                low, is_old_root_known = cut, False
        if not is_old_root_known:
            proof.append(self._root(low, high))
        return proof[::-1]


def _split(count: int) -> int:
    """Return the largest power of two below ``count``, which is 2 or more."""
    return 1 << (count - 1).bit_length() - 1


def _above(level: bytearray) -> bytearray:
    pair = 2 * _HASH_BYTES
    above = bytearray()
    for start in range(0, len(level) - len(level) % pair, pair):
        above += node_hash(
            bytes(level[start : start + _HASH_BYTES]),
            bytes(level[start + _HASH_BYTES : start + pair]),
        )
    return above
