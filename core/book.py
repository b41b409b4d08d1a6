"""Face over the book kernel. (Contract; the kernel fills it in.)"""

from __future__ import annotations

import numpy as np

from core.model.instrument import Instrument


class Book:
    """All levels of one instrument, both sides; prices in ticks, quantities in lots.

    Quantities are absolute and 0 removes; removing an unknown level is normal.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument

    def clear(self) -> None:
        """Forget every level."""
        raise NotImplementedError

    def apply(self, levels: np.ndarray) -> None:
        """Set levels, int64[n, 3] rows of side (0 bid, 1 ask), ticks, lots, in order."""
        raise NotImplementedError

    @property
    def best_bid(self) -> tuple[int, int] | None:
        """Highest buy level as (ticks, lots), or None."""
        raise NotImplementedError

    @property
    def best_ask(self) -> tuple[int, int] | None:
        raise NotImplementedError

    def bids(self, count: int) -> np.ndarray:
        """Return up to ``count`` best bids, best first, int64[k, 2] of ticks, lots."""
        raise NotImplementedError

    def asks(self, count: int) -> np.ndarray:
        raise NotImplementedError

    def depth(self, count: int) -> tuple[int, int]:
        """Return the lots of the best ``count`` levels: (bids, asks)."""
        raise NotImplementedError

    @property
    def is_crossed(self) -> bool:
        """True if the best bid is at or above the best ask."""
        raise NotImplementedError

    def size(self) -> tuple[int, int]:
        """Return how many levels are held: (bids, asks)."""
        raise NotImplementedError
