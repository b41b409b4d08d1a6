"""What an order found when it was sent, and what it cost: values of the slippage record."""

from __future__ import annotations

import msgspec


class Arrival(msgspec.Struct, frozen=True):
    """The market at the moment an order passed the gate: what its fills are measured against."""

    mid2_ticks: int
    """Mid in half ticks (best bid + best ask)."""
    expected_bps: float
    """Mean price that the visible levels within the limit gave, against the mid; above 0 costs."""
    depth_lots: int
    """Lots shown within the limit, of the levels looked at."""
