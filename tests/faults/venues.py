"""The venues of the trials: two instruments each, the second one quiet, moved at random.

``VENUES`` are names of trials: ``alpaca-crypto`` is the venue ``alpaca`` on its other feed.
"""

from __future__ import annotations

import msgspec
import numpy as np

from core.stub.alpaca import AlpacaModel
from core.stub.binance import BinanceModel
from core.stub.coinbase import CoinbaseModel
from core.stub.coinbase_exchange import CoinbaseExchangeModel
from core.stub.faults import FAULTS
from core.stub.flow import RandomFlow
from core.stub.truth import TrueBook
from core.stub.venue import VenueModel
from tests.core.feeds.wire import instrument
from tests.faults.venue_sim import SimModel

_FIRST_VERSION = 1_000_000
_QUIET = (0.0, 0.6)
SNAPSHOT_LEVELS = 100
"""Levels a side of a Binance snapshot in the trials; the true book has more."""


class Trial(msgspec.Struct, frozen=True):
    model: type[VenueModel]
    names: tuple[str, str]
    lot: str = "0.00001"
    n_levels: int = 40
    decimals: int | None = None


VENUES = {
    "binance": Trial(BinanceModel, ("BTCUSDT", "ETHUSDT"), n_levels=130, decimals=8),
    "coinbase": Trial(CoinbaseModel, ("BTC-USD", "ETH-USD")),
    "sim": Trial(SimModel, ("SIM-USD", "SIM-EUR")),
    "coinbase-exchange": Trial(CoinbaseExchangeModel, ("BTC-USD", "ETH-USD")),
    "alpaca": Trial(AlpacaModel, ("IBM", "SPY"), lot="1"),
    "alpaca-crypto": Trial(AlpacaModel, ("BTC/USD", "ETH/USD")),
}


def venue_for(name: str, generator: np.random.Generator, now_ns: int) -> VenueModel:
    """Return a fresh venue of a trial."""
    trial = VENUES[name]
    flows = []
    for each, quiet in zip(trial.names, _QUIET, strict=True):
        one = instrument(trial.model.venue, each, lot=trial.lot)
        book = TrueBook(one, _FIRST_VERSION, decimals=trial.decimals)
        flows.append(RandomFlow(book, generator, trial.n_levels, quiet))
    return trial.model(flows, generator, now_ns)


def cases() -> list[tuple[str, str]]:
    """Return every venue with every fault it can have."""
    return [
        (name, fault.name)
        for name, trial in VENUES.items()
        for fault in FAULTS.values()
        if trial.model.venue in fault.venues
    ]
