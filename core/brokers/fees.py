"""Fees: a rate in basis points of the notional by venue, one for makers and one for takers.

Rounded half to even at 1e-8 of the quote currency: no venue charges finer, and the rounding of
many small fills cancels out instead of adding up. Where the defaults come from, with the date they
were read, stands in ``docs/fills.md``.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import msgspec

from core.config import PaperSettings
from core.errors import InvariantError
from core.model.instrument import Instrument

FEE_STEP = Decimal("0.00000001")
_PER_BPS = Decimal("0.0001")


class FeeRates(msgspec.Struct, frozen=True):
    """What one venue takes of a fill's notional, in basis points."""

    maker_bps: Decimal
    taker_bps: Decimal


def rates_of(paper: PaperSettings, instrument: Instrument) -> FeeRates:
    """Return the configured rates of the instrument's venue, exact.

    Errors: ``InvariantError`` for a venue without rates: an order without a known fee is a bug.
    """
    venue = instrument.venue
    if venue == "alpaca" and "/" in instrument.name:
        venue = "alpaca-crypto"
    table = {
        "sim": (paper.sim_maker_fee_bps, paper.sim_fee_bps),
        "binance": (paper.binance_maker_fee_bps, paper.binance_fee_bps),
        "coinbase": (paper.coinbase_maker_fee_bps, paper.coinbase_fee_bps),
        "coinbase-exchange": (paper.coinbase_maker_fee_bps, paper.coinbase_fee_bps),
        "alpaca": (paper.alpaca_maker_fee_bps, paper.alpaca_fee_bps),
        "alpaca-crypto": (paper.alpaca_crypto_maker_fee_bps, paper.alpaca_crypto_fee_bps),
    }
    if venue not in table:
        raise InvariantError(f"no fee is known for venue {venue}")
    maker, taker = table[venue]
    return FeeRates(Decimal(str(maker)), Decimal(str(taker)))


def fee_of(instrument: Instrument, ticks: int, lots: int, fee_bps: Decimal) -> Decimal:
    """Return the fee of one fill in quote currency, a multiple of FEE_STEP."""
    with localcontext() as context:
        context.prec = 60
        exact = instrument.notional(ticks, lots) * fee_bps * _PER_BPS
        return exact.quantize(FEE_STEP, ROUND_HALF_EVEN)
