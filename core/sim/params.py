"""Parameters of the simulated market, by name, and the measured set C that is the default.

The kernel wants one float array; people want names. ``pack`` is the only way between them.
"""

from __future__ import annotations

import msgspec
import numpy as np

from core.errors import ValueRefused
from core.kernels import market as kernel


class MarketParams(msgspec.Struct, frozen=True, kw_only=True):
    """One calibrated market. Zero turns an addition off; rates are per second of market time."""

    place_rate: float = 1.512
    """Limit orders a side at one tick from the opposite best, before the lean."""
    place_decay: float = 0.468
    """Power by which that rate falls with the distance in ticks."""
    market_rate: float = 0.499
    """Market orders a side that nothing excited."""
    cancel_rate: float = 0.174
    """Cancels for each unit of quantity shown within reach."""
    size_sigma: float = 1.11
    """Standard deviation of the log of a size; 0 makes all orders one unit."""
    meta_pool: int = 2
    """Metaorders alive at a time; 0 draws every sign afresh."""
    meta_tail: float = 1.64
    """Pareto exponent of a metaorder's length in child orders."""
    hawkes_branching: float = 0.44
    """Market orders that one market order sets off on average; below 1."""
    hawkes_decay: float = 1.13
    """Rate at which that excitement fades."""
    clock_variance: float = 0.77 * 0.35
    """Variance of the log of the clock that multiplies all rates."""
    clock_relax_s: float = 600.0
    """Time in which the clock forgets."""
    tilt_fast: float = 0.118
    """Lean of limit orders against the last ~5 market orders; then ~20, then ~100."""
    tilt_mid: float = 0.089
    tilt_slow: float = 0.304
    market_size: float = 2.60
    """Mean market order in units."""
    cap_probability: float = 0.98
    """Share of market orders that take no more than the best queue."""
    unit_lots: int = 1000
    """Mean limit order in lots."""


SET_C = MarketParams()
"""Random search against one Nasdaq and one bitcoin session; see docs/simulated-market.md."""


def pack(params: MarketParams) -> np.ndarray:
    """Return the kernel's float64[PARAMS_SIZE].

    Errors: ``ValueRefused`` for a market that could explode or has no size.
    """
    if not 0.0 <= params.hawkes_branching < 1.0:
        raise ValueRefused(f"hawkes_branching was {params.hawkes_branching}, allowed is [0, 1)")
    if not 0 <= params.meta_pool <= kernel.MAX_POOL:
        raise ValueRefused(f"meta_pool was {params.meta_pool}, allowed is 0..{kernel.MAX_POOL}")
    if params.unit_lots < 1:
        raise ValueRefused(f"unit_lots was {params.unit_lots}, allowed is 1 and more")
    packed = np.zeros(kernel.PARAMS_SIZE, np.float64)
    for index, name in enumerate(MarketParams.__struct_fields__):
        packed[index] = getattr(params, name)
    distance = np.arange(1, kernel.REACH + 1, dtype=np.float64)
    packed[kernel.PLACE_TABLE :] = np.cumsum(params.place_rate / distance**params.place_decay)
    return packed


def market_params_c(unit_lots: int = 1000) -> np.ndarray:
    """Return set C, float64[PARAMS_SIZE]; ``unit_lots`` scales the depth and nothing else."""
    return pack(msgspec.structs.replace(SET_C, unit_lots=unit_lots))
