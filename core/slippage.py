"""Slippage: what an order may pay, how much of it the book shows, and what it did pay. Pure.

Everything is measured against the mid that the order found when it was sent (its arrival), so that
half the spread counts as slippage too. Above zero is worse for us.
Source: implementation shortfall after Perold 1988, "The implementation shortfall: paper versus
reality", from the arrival of the order on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from core.model.instrument import Instrument
from core.model.order import Fill, Side
from core.model.slippage import Arrival


def entry_limit(bids: np.ndarray, asks: np.ndarray, side: Side, cap_bps: float) -> int | None:
    """Return the worst price in ticks within ``cap_bps`` of the mid; None if none trades at once.

    Shapes: ``bids`` and ``asks`` int64[k, 2] of ticks and lots, best first, neither empty.
    """
    mid2 = int(bids[0, 0]) + int(asks[0, 0])
    if side is Side.BUY:
        limit = math.floor(mid2 * (10_000 + cap_bps) / 20_000)
        return limit if limit >= int(asks[0, 0]) else None
    limit = max(1, math.ceil(mid2 * (10_000 - cap_bps) / 20_000))
    return limit if limit <= int(bids[0, 0]) else None


def depth_lots(levels: np.ndarray, side: Side, limit_ticks: int) -> int:
    """Return the lots shown on the other side within the limit; ``levels`` int64[k, 2]."""
    within = side.sign * (limit_ticks - levels[:, 0]) >= 0
    return int(levels[within, 1].sum())


def arrival(
    bids: np.ndarray, asks: np.ndarray, side: Side, lots: int, limit_ticks: int
) -> Arrival | None:
    """Return what an order finds; None without a book to measure against."""
    if not len(bids) or not len(asks) or bids[0, 0] >= asks[0, 0]:
        return None
    mid2 = int(bids[0, 0]) + int(asks[0, 0])
    levels = asks if side is Side.BUY else bids
    depth = depth_lots(levels, side, limit_ticks)
    left, paid = min(lots, depth), 0
    # Nothing within the limit: if it fills all the same, then at the limit.
    mean_ticks = float(limit_ticks)
    if left:
        for ticks, shown in levels.tolist():
            take = min(left, shown)
            paid += take * ticks
            left -= take
            if not left:
                break
        mean_ticks = paid / min(lots, depth)
    return Arrival(mid2, side.sign * (2 * mean_ticks - mid2) * 10_000 / mid2, depth)


def realized_bps(fills: Sequence[Fill], mid2_ticks: int) -> float:
    """Return the mean fill price against the mid of arrival, in bps. ``fills`` of one order."""
    lots = sum(fill.qty_lots for fill in fills)
    paid = sum(fill.price_ticks * fill.qty_lots for fill in fills)
    return fills[0].side.sign * (2 * paid - mid2_ticks * lots) * 10_000 / (mid2_ticks * lots)


def cost(fills: Sequence[Fill], mid2_ticks: int, instrument: Instrument) -> Decimal:
    """Return the same as money in quote currency, exact; fees are not in it."""
    half_ticks_lots = sum((2 * f.price_ticks - mid2_ticks) * f.qty_lots for f in fills)
    return instrument.notional(fills[0].side.sign * half_ticks_lots, 1) / 2


def markout_bps(fill: Fill, mid2_ticks: int) -> float:
    """Return how far the mid has gone our way since a fill, in bps of its price."""
    return fill.side.sign * (mid2_ticks - 2 * fill.price_ticks) * 5_000 / fill.price_ticks


def markout_money(fill: Fill, mid2_ticks: int, instrument: Instrument) -> Decimal:
    """Return the same as money in quote currency, exact; fees are not in it."""
    moved2 = fill.side.sign * (mid2_ticks - 2 * fill.price_ticks)
    return instrument.notional(moved2 * fill.qty_lots, 1) / 2
