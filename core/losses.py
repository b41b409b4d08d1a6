"""The watch on the day's loss. Pure: it says when the limit is reached, the engine acts."""

from __future__ import annotations

from decimal import Decimal

from core.account import QuoteAccount
from core.model.instrument import plain

LOOKS = 3
"""Looks at the marks, a second apart, that must all be over the limit."""


class LossWatch:
    """Compares the day's loss in each quote currency with one limit.

    What is realized counts at once; a mark must stand ``LOOKS`` looks, for one bad quote is not a
    loss. Re-armed on the same day with the loss still there, it says so again.
    """

    def __init__(self, max_daily_loss: Decimal) -> None:
        self._limit = -max_daily_loss
        self._looks_over: dict[str, int] = {}

    def look(self, money: QuoteAccount, now_ns: int) -> str:
        """Return why trading must stop, or nothing; once a second."""
        today = money.today(now_ns)
        is_over = today is not None and today <= self._limit
        looks = self._looks_over.get(money.quote, 0) + 1 if is_over else 0
        self._looks_over[money.quote] = looks
        realized = money.realized_today(now_ns)
        if realized > self._limit and looks < LOOKS:
            return ""
        lost = f"{plain(realized if today is None else today)} {money.quote}"
        return f"daily loss {lost} reached its limit {plain(self._limit)}"
