"""Cross-checks of one instrument on a feed whose book has no sequence.

Loss cannot be proved there, but what the venue says elsewhere on the connection can contradict
the book: trade ids that jump, a ticker whose best prices the book never had, trades that go on
while the book stands still. No message is trusted at one instant: channels of one connection
are not in step with each other, so each comparison waits until the book has had time to follow.
"""

from __future__ import annotations

from collections import deque

from core.book import Touch
from core.clock import NS_PER_MS, NS_PER_S

SETTLE_NS = 500 * NS_PER_MS
"""How far ticker and book may be out of step: ten flushes of ``level2_batch``."""
MAX_TOUCHES = 256
"""Best prices kept; past it the oldest go, and the comparison looks less far back."""
LAG_NS = 2 * NS_PER_S
LAG_TRADES = 3
"""Trades without a book message, over ``LAG_NS``: each takes quantity off a level, and a level put
back within one flush could hide one of them, hardly three."""
MAX_LOST = 1_000_000
"""A jump of more trade ids than this is a damaged or a new numbering, not a count of trades."""


class TradeIds:
    """Ids of one instrument's trades, which rise by one, as of one connection."""

    def __init__(self) -> None:
        self._newest = -1
        self._told = -1
        """What the heartbeat before told."""

    def begin_at(self, trade_id: int) -> None:
        """Take an older trade told at the start as the one before the first."""
        self._newest = max(self._newest, trade_id)

    def follow(self, trade_id: int) -> int:
        """Take a trade that is no repeat; return how many before it never came."""
        before, self._newest = self._newest, trade_id
        lost = trade_id - before - 1
        return lost if before >= 0 and 0 < lost <= MAX_LOST else 0

    def compare(self, last_trade_id: int) -> int:
        """Take a heartbeat's newest id; return how many trades up to the one before it are lost.

        The heartbeat may overtake the trades that it tells of, so it is judged at the next one.
        """
        told, self._told = self._told, last_trade_id
        if self._newest < 0:
            self._newest = last_trade_id
        lost = told - self._newest
        if lost <= 0:
            return 0
        self._newest = told
        return lost if lost <= MAX_LOST else 0


class TickerCheck:
    """Compares a ticker's best prices with those that the book had around that time.

    A ticker agrees if, within ``SETTLE_NS`` of it, neither of its prices was out of the range in
    which the book's best price of that side moved. A level that is missing, or that should be
    gone, keeps a best price away from what the ticker says for longer than that.
    """

    def __init__(self) -> None:
        self._touches: deque[tuple[int, int, int]] = deque(maxlen=MAX_TOUCHES)
        """Time, best bid and best ask ticks of each change, oldest first."""
        self._told: tuple[int, int, int] | None = None
        """The ticker that is waiting to be judged; others that come meanwhile are not kept."""

    def forget(self) -> None:
        """The book begins anew."""
        self._touches.clear()
        self._told = None

    def moved(self, touch: Touch, now_ns: int) -> None:
        """Follow the book's best prices."""
        touches, bid, ask = self._touches, touch[0], touch[2]
        if touches and touches[-1][1:] == (bid, ask):
            return
        while len(touches) > 1 and touches[1][0] < now_ns - 2 * SETTLE_NS:
            touches.popleft()
        touches.append((now_ns, bid, ask))

    def told(self, bid: int, ask: int, now_ns: int) -> None:
        """Take a ticker's best prices in ticks, both above 0."""
        if self._told is None and self._touches:
            self._told = (now_ns, bid, ask)

    def verdict(self, now_ns: int) -> bool | None:
        """Return whether the ticker agreed, None while there is nothing to say."""
        if self._told is None:
            return None
        told_ns, bid, ask = self._told
        if self._touches[-1][1:] == (bid, ask):
            self._told = None
            return True
        if now_ns < told_ns + SETTLE_NS:
            return None
        self._told = None
        first = 0
        for place, (since_ns, _, _) in enumerate(self._touches):
            if since_ns <= told_ns - SETTLE_NS:
                first = place
        seen = list(self._touches)[first:]
        return all(
            min(each[side] for each in seen) <= price <= max(each[side] for each in seen)
            for side, price in ((1, bid), (2, ask))
        )


class BookLag:
    """Trades that came since the book last moved."""

    def __init__(self) -> None:
        self._n_trades = 0
        self._since_ns = 0

    def moved(self) -> None:
        self._n_trades = 0

    def traded(self, now_ns: int) -> None:
        if not self._n_trades:
            self._since_ns = now_ns
        self._n_trades += 1

    def lasted_ns(self, now_ns: int) -> int:
        """Return for how long trades have gone on without the book, 0 for not oddly long."""
        lasted_ns = now_ns - self._since_ns
        return lasted_ns if self._n_trades >= LAG_TRADES and lasted_ns > LAG_NS else 0
