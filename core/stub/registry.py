"""Which model speaks which venue's protocol, and a venue that is moved by the simulated market."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np

from core.errors import ValueRefused
from core.feeds.symbols import currencies
from core.model.instrument import Instrument
from core.stub.alpaca import AlpacaModel
from core.stub.binance import BinanceModel
from core.stub.coinbase import CoinbaseModel
from core.stub.coinbase_exchange import CoinbaseExchangeModel
from core.stub.flow import SimFlow
from core.stub.truth import TrueBook
from core.stub.venue import VenueModel

MODELS: dict[str, type[VenueModel]] = {
    each.venue: each for each in (BinanceModel, CoinbaseModel, CoinbaseExchangeModel, AlpacaModel)
}
KEPT_VERSIONS = 50_000
"""Versions of a book that testers can ask for; ten minutes and more of one simulated market."""
_PRICES = {"BTC": Decimal(60_000), "ETH": Decimal(3_000)}
_OTHER_PRICE = Decimal(500)
_BINANCE_DECIMALS = 8


class _Grid(msgspec.Struct, frozen=True):
    """Increments of an instrument that is made up, and the mean size of an order in lots."""

    lot: Decimal = Decimal("0.00001")
    unit_lots: int = 10_000


def _grid(venue: str, symbol: str) -> _Grid:
    if venue == "alpaca" and "/" not in symbol:
        return _Grid(Decimal(1), 200)
    return _Grid(Decimal("0.00000001"), 10_000_000) if venue.startswith("coinbase") else _Grid()


def sim_venue(
    venue: str, symbols: Sequence[str], seed: int, now_ns: int, speed: float = 1.0
) -> VenueModel:
    """Return a venue whose books are simulated markets, one a symbol.

    Errors: ``ValueRefused`` for a symbol that is none, or is named twice.
    """
    if len(set(symbols)) < len(symbols):
        raise ValueRefused(f"symbols were {', '.join(symbols)}: one was named twice")
    flows = []
    for number, symbol in enumerate(symbols):
        base, quote = currencies(venue, symbol)
        grid = _grid(venue, symbol)
        one = Instrument(venue, symbol, base, quote, Decimal("0.01"), grid.lot)
        decimals = _BINANCE_DECIMALS if venue == "binance" else None
        book = TrueBook(one, 1_000_000, KEPT_VERSIONS, decimals)
        start_ticks = one.ticks(_PRICES.get(base, _OTHER_PRICE))
        flows.append(
            SimFlow(book, seed + number, now_ns, start_ticks, unit_lots=grid.unit_lots, speed=speed)
        )
    return MODELS[venue](flows, np.random.default_rng([seed, 11]), now_ns)
