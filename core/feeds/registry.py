"""Which protocol reads which venue, and what a venue trades by default."""

from __future__ import annotations

from collections.abc import Sequence

from core.config import Settings
from core.errors import UnknownVenue, UserError
from core.feeds.capture import VENUES
from core.feeds.protocol import FeedProtocol
from core.model.instrument import Instrument

LIVE_VENUES = frozenset({"sim", "coinbase", "binance"})
"""Venues whose live connection is built; the others replay captures."""

_DEFAULT_SYMBOLS = {
    "coinbase": ("BTC-USD",),
    "coinbase-exchange": ("BTC-USD",),
    "binance": ("BTCUSDT",),
    "alpaca": ("SPY",),
}


def protocol_for(venue: str, instruments: Sequence[Instrument], settings: Settings) -> FeedProtocol:
    """Return a fresh protocol for the venue; it reads captures and, where built, a socket.

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
    return _DEFAULT_SYMBOLS[venue]


def require_live(venue: str) -> None:
    """Refuse a venue that has no live connection yet. Errors: ``UserError``."""
    if venue not in VENUES:
        raise _unknown(venue)
    if venue not in LIVE_VENUES:
        raise UserError(
            f"venue {venue}: the live connection is not built yet; its captures replay. "
            f"Live venues: {', '.join(sorted(LIVE_VENUES))}"
        )


async def fetch_instruments(
    venue: str, symbols: Sequence[str], settings: Settings | None = None, *, rest: str = ""
) -> list[Instrument]:
    """Return the instruments as the venue's own product list has them now.

    Args:
        venue: A live venue.
        symbols: The venue's own spellings.
        settings: Where the venue is.
        rest: REST address instead of the configured one, for tests.

    Errors: ``UserError`` for a symbol the venue does not know or trade, or a venue without a live
    connection; ``TryAgain`` when the venue cannot be asked now.
    """
    from core.feeds.products import COINBASE_REST, binance_products, coinbase_products

    require_live(venue)
    settings = settings or Settings()
    if venue == "binance":
        return await binance_products(symbols, rest or settings.feed.binance_rest)
    if venue == "coinbase":
        return await coinbase_products(symbols, rest or COINBASE_REST)
    raise UserError(f"venue {venue}: it has no product list to ask")


def _unknown(venue: str) -> UnknownVenue:
    return UnknownVenue(f"venue was {venue[:40]!r}, allowed are {', '.join(VENUES)}")
