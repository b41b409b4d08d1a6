"""The hash chain: every event names the hash of the one before.

hash = SHA-256(0x00 || body), the leaf hash of RFC 9162, so that a tree can be built over the
same leaves later. The stored bytes are hashed, never a new spelling of them.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from ledger.envelope import Tail, tail_of

GENESIS = bytes(32)
"""What the first event names as the hash before it."""


class Head(NamedTuple):
    """The newest event: its seq and hash. Seq 0 is the empty ledger."""

    seq: int
    hash: bytes


EMPTY_HEAD = Head(0, GENESIS)


def leaf_hash(body: bytes) -> bytes:
    """Return the 32-byte hash of an event's body."""
    return hashlib.sha256(b"\x00" + body).digest()


class ChainWalk:
    """Walks the events in order and says what is wrong with each; holds the head so far."""

    def __init__(self, head: Head = EMPTY_HEAD) -> None:
        """Begin after ``head``."""
        self.head = head
        self.tail: Tail | None = None
        """The end of the last body seen."""

    def step(self, seq: int, stored_hash: bytes, body: bytes) -> tuple[int, str] | None:
        """Take the next row; return the first bad seq and what is wrong, or None.

        A bad row becomes the head all the same, so that the rest can be looked at.
        """
        if type(stored_hash) is not bytes or type(body) is not bytes:
            self.tail = None
            return seq, "hash or body is stored as another type than bytes"
        before, self.head = self.head, Head(seq, stored_hash)
        self.tail = tail_of(body)
        if seq != before.seq + 1:
            return before.seq + 1, f"the event is missing; the next one found is seq {seq}"
        if leaf_hash(body) != stored_hash:
            return seq, "the hash is not that of the body: one of them was changed"
        if self.tail is None:
            return seq, "the body does not end like an event of version ev/1"
        if self.tail.prev != before.hash.hex().encode():
            return seq, f"prev does not name the hash of seq {before.seq}: the chain is broken"
        if int(self.tail.seq) != seq:
            return seq, f"the body says it is seq {self.tail.seq.decode()}"
        return None
