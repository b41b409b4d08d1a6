"""Where a resting order of ours stands in a queue that does not know of us.

Two stories tell of the same lots: trades at the price, and a book that shows fewer. They come in
either order, so what one has told is held against the other for a second and counts once. Trades
eat the front of the queue; lots gone without a trade were canceled anywhere in it, so the part
before us shrinks in proportion. Every rounding leans against us.
"""

from __future__ import annotations

from collections import deque

import msgspec

from core.clock import NS_PER_S

TOLD_WITHIN_NS = NS_PER_S
"""How far apart the book and the trade may tell of the same lots. Binance sends the book every
100 ms and trades at once, Coinbase the book every 50 ms and trades every 250 ms."""


class _Gone(msgspec.Struct):
    """Lots that the book showed to be gone and that no trade has told of yet."""

    ts_ns: int
    lots: int
    ahead_lots: int
    """How many of them were counted as before us."""


class QueuePlace:
    """One order's place; ``shown_lots`` at our price when we came all stand before us."""

    def __init__(self, shown_lots: int) -> None:
        self.ahead_lots = shown_lots
        self._shown_lots = shown_lots
        self._gone: deque[_Gone] = deque()
        self._unseen: deque[tuple[int, int]] = deque()
        """Time and lots that trades told of and that the book does not show gone yet."""

    def on_trade(self, lots: int, now_ns: int) -> int:
        """Let a trade at our price eat the front; return the lots that pass it and reach us."""
        told_lots, counted_lots = self._match_gone(lots, now_ns)
        if lots > told_lots:
            self._unseen.append((now_ns, lots - told_lots))
        left = lots - counted_lots
        eaten = min(self.ahead_lots, left)
        self.ahead_lots -= eaten
        return left - eaten

    def on_book(self, shown_lots: int, now_ns: int) -> None:
        """Move up as the level shows; more lots than before stand behind us."""
        was_lots, self._shown_lots = self._shown_lots, shown_lots
        gone = was_lots - shown_lots
        if gone <= 0:
            return
        explained = self._match_unseen(gone, now_ns)
        canceled, queue = gone - explained, was_lots - explained
        if not canceled:
            return
        # In proportion, rounded down; but no more can stand before us than the level shows.
        moved = max(self.ahead_lots * canceled // queue, self.ahead_lots - shown_lots)
        moved = min(moved, self.ahead_lots)
        self.ahead_lots -= moved
        self._gone.append(_Gone(now_ns, canceled, moved))

    def _match_gone(self, lots: int, now_ns: int) -> tuple[int, int]:
        """Return how many of a trade's lots the book has shown gone, and counted as before us."""
        while self._gone and now_ns - self._gone[0].ts_ns > TOLD_WITHIN_NS:
            self._gone.popleft()
        told = counted = 0
        while self._gone and told < lots:
            first = self._gone[0]
            part = min(first.lots, lots - told)
            ahead = min(first.ahead_lots, part)
            first.lots -= part
            first.ahead_lots -= ahead
            told += part
            counted += ahead
            if not first.lots:
                self._gone.popleft()
        return told, counted

    def _match_unseen(self, gone: int, now_ns: int) -> int:
        """Return how many of the lots gone are those that trades have told of."""
        while self._unseen and now_ns - self._unseen[0][0] > TOLD_WITHIN_NS:
            self._unseen.popleft()
        explained = 0
        while self._unseen and explained < gone:
            ts_ns, lots = self._unseen.popleft()
            part = min(lots, gone - explained)
            explained += part
            if part < lots:
                self._unseen.appendleft((ts_ns, lots - part))
        return explained
