"""What is asked of Alpaca's market data REST: latest quotes and the prints that were missed.

Addresses: Alpaca market data reference, ``/v2/stocks/quotes/latest``, ``/v2/stocks/trades``,
``/v1beta3/crypto/us/trades`` (copy of 2026-01-26). Every request carries the keys in headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from core.clock import iso_ns
from core.config import FeedSettings
from core.model.market import FetchHttp
from core.secrets import KEY_ID, KEY_SECRET

CRYPTO_PATH = "/v1beta3/crypto/us"
KEY_HEADERS = (("APCA-API-KEY-ID", KEY_ID), ("APCA-API-SECRET-KEY", KEY_SECRET))
PAGE_ROWS = 10_000
"""The most that the venue gives in one answer."""
_QUOTES, _TRADES = "/quotes/latest", "/trades"


def stream_url(settings: FeedSettings, *, is_crypto: bool) -> str:
    """Return the address of the stream."""
    path = CRYPTO_PATH if is_crypto else f"/v2/{settings.alpaca_feed}"
    return settings.alpaca_stream.rstrip("/") + path


def has_history(settings: FeedSettings, *, is_crypto: bool) -> bool:
    """Return whether REST knows what the stream tells; of the test stream it knows nothing."""
    return is_crypto or settings.alpaca_feed != "test"


def latest_quotes(
    settings: FeedSettings, symbols: Sequence[str], not_before_ns: int = 0
) -> FetchHttp:
    """Ask for the standing quotes of stocks."""
    url = f"{settings.alpaca_rest}/v2/stocks{_QUOTES}?symbols={_join(symbols)}"
    return FetchHttp(f"{url}&feed={settings.alpaca_feed}", not_before_ns, KEY_HEADERS)


def missed_trades(
    settings: FeedSettings, symbols: Sequence[str], start_ns: int, *, is_crypto: bool
) -> FetchHttp:
    """Ask for the prints since ``start_ns``, oldest first; it is the first page."""
    query = f"?symbols={_join(symbols)}&start={quote(iso_ns(start_ns), safe='')}&sort=asc"
    query += f"&limit={PAGE_ROWS}"
    if is_crypto:
        url = f"{settings.alpaca_rest}{CRYPTO_PATH}{_TRADES}{query}"
    else:
        # History of the delayed feed is the SIP's own.
        feed = settings.alpaca_feed.removeprefix("delayed_")
        url = f"{settings.alpaca_rest}/v2/stocks{_TRADES}{query}&feed={feed}"
    return FetchHttp(url, 0, KEY_HEADERS)


def next_page(url: str, token: str) -> FetchHttp:
    """Ask for the page after the one at ``url``."""
    first = url.partition("&page_token=")[0]
    return fetch(f"{first}&page_token={quote(token, safe='')}")


def fetch(url: str, not_before_ns: int = 0) -> FetchHttp:
    """Ask for one of the above again."""
    return FetchHttp(url, not_before_ns, KEY_HEADERS)


def is_quotes(url: str) -> bool:
    return urlsplit(url).path.endswith(_QUOTES)


def is_trades(url: str) -> bool:
    return urlsplit(url).path.endswith(_TRADES)


def _join(symbols: Sequence[str]) -> str:
    return ",".join(quote(symbol, safe="") for symbol in symbols)
