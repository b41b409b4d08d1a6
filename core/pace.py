"""Pace: when orders and cancels were sent and which orders filled, counted for the gate.

Times are engine time. What is older than its window is forgotten, so memory is bounded by the
limits themselves.
"""

from __future__ import annotations

from collections import deque

import msgspec

from core.clock import NS_PER_MS, NS_PER_S
from core.config import RiskSettings
from core.model.order import Order, Side

MINUTE_NS = 60 * NS_PER_S
KEPT_MAX = 20_000
"""Entries of each kind at most; above every limit that can be set."""


class _Sent(msgspec.Struct, frozen=True, gc=False):
    ts_ns: int
    client_order_id: str
    """Empty for a cancel."""


class _Streak(msgspec.Struct):
    """Orders of one side that filled, the oldest first, since one of the other side did."""

    side: Side
    orders: deque[_Sent]


class Pace:
    """The pace of one run; see the module docstring."""

    def __init__(self, limits: RiskSettings) -> None:
        self._orders: deque[_Sent] = deque(maxlen=KEPT_MAX)
        self._messages: deque[_Sent] = deque(maxlen=KEPT_MAX)
        self._same: dict[tuple[str, Side, int, int], deque[_Sent]] = {}
        self._streaks: dict[str, _Streak] = {}
        self._repeated_ns = int(limits.repeated_window_s * NS_PER_S)
        self._duplicate_ns = limits.duplicate_window_ms * NS_PER_MS

    def note_order(self, order: Order, now_ns: int) -> None:
        """An order passed the gate."""
        sent = _Sent(now_ns, order.client_order_id)
        _append(self._orders, sent, MINUTE_NS)
        _append(self._messages, sent, NS_PER_S)
        self._forget_same(now_ns)
        self._same.setdefault(_key(order), deque(maxlen=KEPT_MAX)).append(sent)

    def note_cancel(self, now_ns: int) -> None:
        """A cancel is on its way."""
        _append(self._messages, _Sent(now_ns, ""), NS_PER_S)

    def note_fill(self, order: Order, now_ns: int) -> None:
        """An order filled, in part or whole; its further fills count no more."""
        streak = self._streaks.get(order.instrument)
        if streak is None or streak.side is not order.side:
            streak = _Streak(order.side, deque(maxlen=KEPT_MAX))
            self._streaks[order.instrument] = streak
        key = order.client_order_id
        if all(sent.client_order_id != key for sent in streak.orders):
            _append(streak.orders, _Sent(now_ns, key), self._repeated_ns)

    def orders_within(self, span_ns: int, now_ns: int, besides: str) -> int:
        """Return the orders of the last ``span_ns`` (a minute at most), ``besides`` one."""
        return _count(self._orders, now_ns - span_ns, besides)

    def messages_last_second(self, now_ns: int, besides: str) -> int:
        """Return the orders and cancels of the last second, ``besides`` one order."""
        return _count(self._messages, now_ns - NS_PER_S, besides)

    def repeated_fills(self, name: str, side: Side, now_ns: int) -> int:
        """Return the orders of one side that filled in the window, none of the other between."""
        streak = self._streaks.get(name)
        if streak is None or streak.side is not side:
            return 0
        return _count(streak.orders, now_ns - self._repeated_ns, "")

    def same_order_age_ms(self, order: Order, now_ns: int) -> float | None:
        """Return the age of the newest order just like this one; None for none in the window."""
        for sent in reversed(self._same.get(_key(order), ())):
            if sent.client_order_id != order.client_order_id:
                age_ns = now_ns - sent.ts_ns
                return age_ns / NS_PER_MS if age_ns < self._duplicate_ns else None
        return None

    def _forget_same(self, now_ns: int) -> None:
        for key in [k for k, sent in self._same.items()
                    if sent[-1].ts_ns <= now_ns - self._duplicate_ns]:  # fmt: skip
            del self._same[key]


def _key(order: Order) -> tuple[str, Side, int, int]:
    return order.instrument, order.side, order.limit_ticks, order.qty_lots


def _append(kept: deque[_Sent], sent: _Sent, span_ns: int) -> None:
    while kept and kept[0].ts_ns <= sent.ts_ns - span_ns:
        kept.popleft()
    kept.append(sent)


def _count(kept: deque[_Sent], after_ns: int, besides: str) -> int:
    """Count what is younger, from the newest back; ``besides`` names an order, or nothing."""
    count = 0
    for sent in reversed(kept):
        if sent.ts_ns <= after_ns:
            break
        count += not besides or sent.client_order_id != besides
    return count
