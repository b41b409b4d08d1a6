"""Fees: a rate in basis points of the notional, rounded once, the same for maker and taker.

Rounded half to even at 1e-8 of the quote currency: no venue charges finer, and the rounding of
many small fills cancels out instead of adding up.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from core.model.instrument import Instrument

FEE_STEP = Decimal("0.00000001")
_PER_BPS = Decimal("0.0001")


def fee_of(instrument: Instrument, ticks: int, lots: int, fee_bps: Decimal) -> Decimal:
    """Return the fee of one fill in quote currency, a multiple of FEE_STEP."""
    with localcontext() as context:
        context.prec = 60
        exact = instrument.notional(ticks, lots) * fee_bps * _PER_BPS
        return exact.quantize(FEE_STEP, ROUND_HALF_EVEN)
