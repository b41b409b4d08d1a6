"""Proofs made by hashing all leaves again, as RFC 9162 words it: the oracle of ``Forest``."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InvariantError
from ledger.tree import root_of


def _split(size: int) -> int:
    """Return the largest power of two below ``size``, which is 2 or more."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that leaf ``index`` is in the tree of ``leaves``, lowest node first.

    Errors: ``InvariantError`` for an index that is not there.
    """
    if not 0 <= index < len(leaves):
        raise InvariantError(f"index was {index}, the tree has {len(leaves)} leaves")
    proof: list[bytes] = []
    while len(leaves) > 1:
        cut = _split(len(leaves))
        left, right = leaves[:cut], leaves[cut:]
        if index < cut:
            proof.append(root_of(right))
            leaves = left
        else:
            proof.append(root_of(left))
            leaves, index = right, index - cut
    return proof[::-1]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the tree of ``leaves`` extends that of its first ``old_size``.

    Errors: ``InvariantError`` unless ``old_size`` is 1 to the number of leaves.
    """
    if not 0 < old_size <= len(leaves):
        raise InvariantError(f"old size was {old_size}, allowed is 1 to {len(leaves)}")
    proof: list[bytes] = []
    is_old_root_known = True  # the verifier has the old root, so no need to send it
    while old_size < len(leaves):
        cut = _split(len(leaves))
        left, right = leaves[:cut], leaves[cut:]
        if old_size <= cut:
            proof.append(root_of(right))
            leaves = left
        else:
            proof.append(root_of(left))
            leaves, old_size = right, old_size - cut
            is_old_root_known = False
    if not is_old_root_known:
        proof.append(root_of(leaves))
    return proof[::-1]
