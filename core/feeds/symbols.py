"""Venue symbols: currencies from the spelling, the labels that aliased products arrive under.

A venue's product list is the truth about currencies where there is one; a capture of somebody
else has only the spelling.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import ValueRefused

_QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "DAI", "BTC", "ETH", "BNB",
    "USD", "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "MXN", "PLN", "IDR", "UAH",
)  # fmt: skip
"""Quote currencies that Binance writes without a separator, longer ones first."""

ALPACA_TEST_SYMBOL = "FAKEPACA"
"""What Alpaca's test feed trades, day and night."""

_OWN_USDC_BOOKS = frozenset({"USDT-USDC", "EURC-USDC"})
"""Coinbase products whose USDC book is not merged with a USD one."""


def currencies(venue: str, symbol: str) -> tuple[str, str]:
    """Return (base, quote) of a venue's symbol.

    Errors: ``ValueRefused`` if the spelling names no quote currency this program knows.
    """
    for separator in ("-", "/"):
        base, found, quote = symbol.partition(separator)
        if found and base and quote:
            return base, quote
    if venue == "alpaca":
        return symbol, "USD"
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    raise ValueRefused(f"symbol was {symbol[:40]!r}: no known quote currency ends it")


def coinbase_label(symbol: str) -> str:
    """Return the ``product_id`` under which Coinbase sends the data of a product.

    USD and USDC books are merged, and the data of X-USDC arrive labelled X-USD.
    Source: Advanced Trade documentation 2026-06-28; ccxt issue 23748.
    """
    if symbol.endswith("-USDC") and symbol not in _OWN_USDC_BOOKS:
        return symbol.removesuffix("C")
    return symbol


def coinbase_labels(symbols: Sequence[str]) -> dict[str, int]:
    """Return which subscription (index) each ``product_id`` on the wire belongs to.

    Two subscriptions are never merged: where X-USD and X-USDC are both subscribed, the label is
    the exact name's and the other one gets nothing.
    """
    labels = {symbol: index for index, symbol in enumerate(symbols)}
    for index, symbol in enumerate(symbols):
        labels.setdefault(coinbase_label(symbol), index)
    return labels
