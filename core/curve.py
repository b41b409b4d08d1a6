"""The P&L curve of a backtest: exact drawdown, and a bounded number of points to draw.

Every value counts for the drawdown. The points kept are thinned by halves when they become too
many; a kept point carries the deepest drawdown of its stretch, so a chart never shows less of a
fall than there was.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

POINTS_MAX = 1024
"""Points kept; at the bound neighbours are merged in pairs."""


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """The state of the P&L at the end of a stretch of time, in quote currency."""

    ts_ns: int
    pnl: Decimal
    drawdown: Decimal
    """Deepest fall below the highest P&L so far, within the stretch; zero or more."""
    hold: Decimal
    """P&L of buy and hold at the same mark."""
    fees: Decimal
    """All fees paid so far; they are taken off ``pnl`` already."""


class Reach(msgspec.Struct, frozen=True):
    """How far a curve that starts at zero went; enough to put curves end to end."""

    last: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    low: Decimal = Decimal(0)
    drawdown: Decimal = Decimal(0)

    def then(self, other: Reach) -> Reach:
        """Return the reach of this curve with ``other`` put to its end."""
        across = self.high - (self.last + other.low)
        return Reach(
            last=self.last + other.last,
            high=max(self.high, self.last + other.high),
            low=min(self.low, self.last + other.low),
            drawdown=max(self.drawdown, other.drawdown, across),
        )


class Curve:
    """Takes the P&L as it goes; starts at zero."""

    def __init__(self, points_max: int = POINTS_MAX) -> None:
        self.reach = Reach()
        self._points_max = points_max
        self._points: list[CurvePoint] = []
        self._stride = 1
        """Values in one kept point."""
        self._in_last = 0
        """Values in the newest point so far."""

    def take(self, ts_ns: int, pnl: Decimal, hold: Decimal, fees: Decimal) -> None:
        """Take the P&L and the fees so far at ``ts_ns``; times never go back."""
        before = self.reach
        high = max(before.high, pnl)
        fall = high - pnl
        self.reach = Reach(pnl, high, min(before.low, pnl), max(before.drawdown, fall))
        point = CurvePoint(ts_ns, pnl, fall, hold, fees)
        if self._points and self._in_last < self._stride:
            self._points[-1] = _merged(self._points[-1], point)
            self._in_last += 1
            return
        if len(self._points) >= self._points_max:
            self._halve()
        self._points.append(point)
        self._in_last = 1

    @property
    def points(self) -> tuple[CurvePoint, ...]:
        """The points kept, in order of time; at most ``points_max``."""
        return tuple(self._points)

    def _halve(self) -> None:
        kept, rest = self._points[::2], self._points[1::2]
        merged = [_merged(a, b) for a, b in zip(kept, rest, strict=False)]
        self._points = [*merged, *kept[len(rest) :]]
        self._stride *= 2


def _merged(earlier: CurvePoint, later: CurvePoint) -> CurvePoint:
    drawdown = max(earlier.drawdown, later.drawdown)
    return msgspec.structs.replace(later, drawdown=drawdown)
