"""Which protocol reads which venue, and what a venue trades by default."""

from __future__ import annotations

from collections.abc import Sequence

from core.config import Settings
from core.errors import UnknownVenue, UserError
from core.feeds.capture import VENUES
from core.feeds.protocol import FeedProtocol
from core.feeds.symbols import ALPACA_TEST_SYMBOL
from core.model.instrument import Instrument
from core.secrets import VenueKeys

_DEFAULT_SYMBOLS = {
    "coinbase": ("BTC-USD",),
    "coinbase-exchange": ("BTC-USD",),
    "binance": ("BTCUSDT",),
    "alpaca": ("SPY",),
}


def protocol_for(venue: str, instruments: Sequence[Instrument], settings: Settings) -> FeedProtocol:
    """Return a fresh protocol for the venue; it reads captures and sockets alike.

    Errors: ``UnknownVenue``.
    """
    # Imported where needed: a replay of one venue loads one venue.
    if venue == "sim":
        from core.feeds.sim import SimProtocol

        return SimProtocol(list(instruments), settings)
    if venue == "binance":
        from core.feeds.binance import BinanceProtocol

        return BinanceProtocol(instruments, settings)
    if venue == "coinbase":
        from core.feeds.coinbase import CoinbaseProtocol

        return CoinbaseProtocol(instruments, settings)
    if venue == "coinbase-exchange":
        from core.feeds.coinbase_exchange import CoinbaseExchangeProtocol

        return CoinbaseExchangeProtocol(instruments, settings)
    if venue == "alpaca":
        from core.feeds.alpaca import AlpacaProtocol

        return AlpacaProtocol(instruments, settings)
    raise _unknown(venue)


def default_symbols(venue: str, settings: Settings | None = None) -> tuple[str, ...]:
    """Return what is watched when nobody said. Errors: ``UnknownVenue``."""
    if venue == "sim":
        return ((settings or Settings()).sim.instrument,)
    if venue not in _DEFAULT_SYMBOLS:
        raise _unknown(venue)
    if venue == "alpaca" and settings is not None and settings.feed.alpaca_feed == "test":
        return (ALPACA_TEST_SYMBOL,)
    return _DEFAULT_SYMBOLS[venue]


async def fetch_instruments(
    venue: str,
    symbols: Sequence[str],
    settings: Settings | None = None,
    *,
    rest: str = "",
    keys: VenueKeys | None = None,
) -> list[Instrument]:
    """Return the instruments as the venue's own product list has them now.

    Args:
        venue: Not the simulated market, which has no list.
        symbols: The venue's own spellings.
        settings: Where the venue is.
        rest: REST address instead of the configured one, for tests.
        keys: Of a venue that shows its list to its customers alone.

    Errors: ``UserError`` for a symbol the venue does not know or trade, or for missing or wrong
    keys; ``TryAgain`` when the venue cannot be asked now.
    """
    from core.feeds import products

    settings = settings or Settings()
    if venue == "binance":
        return await products.binance_products(symbols, rest or settings.feed.binance_rest)
    if venue == "coinbase":
        return await products.coinbase_products(symbols, rest or products.COINBASE_REST)
    if venue == "coinbase-exchange":
        place = rest or settings.feed.coinbase_exchange_rest
        return await products.coinbase_exchange_products(symbols, place)
    if venue == "alpaca":
        from core.feeds.alpaca_products import alpaca_products

        return await alpaca_products(symbols, settings.feed, keys, rest)
    if venue in VENUES:
        raise UserError(f"venue {venue}: it has no product list to ask")
    raise _unknown(venue)


def _unknown(venue: str) -> UnknownVenue:
    return UnknownVenue(f"venue was {venue[:40]!r}, allowed are {', '.join(VENUES)}")
