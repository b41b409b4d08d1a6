"""Alpaca instruments, from its list of assets and the prices of the moment.

Stocks have no increments in the list: the tick follows the rule that quotes are in cents from
1 USD on and in hundredths of a cent below (Regulation NMS, rule 612), decided once, at the start,
by the latest trade. The lot is one share. Crypto has increments in the list; where the venue's own
book is finer than the list, the book is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Raw

from core.config import FeedSettings
from core.errors import TryAgain, UserError, ValueRefused
from core.feeds.alpaca_rest import CRYPTO_PATH, KEY_HEADERS
from core.feeds.alpaca_wire import OrderBook, number
from core.feeds.products import (
    NO_SUCH,
    ask,
    body_of,
    client_of,
    decode_answer,
    unknown_symbol,
)
from core.feeds.symbols import ALPACA_TEST_SYMBOL, currencies
from core.model.instrument import Instrument, parse_decimal
from core.secrets import VenueKeys, missing_keys

CENT, HUNDREDTH = Decimal("0.01"), Decimal("0.0001")
ONE_USD = Decimal(1)
_REFUSED = frozenset({401, 403})


class _Asset(msgspec.Struct):
    symbol: str
    kind: str = msgspec.field(name="class", default="us_equity")
    status: str = "active"
    tradable: bool = True
    min_trade_increment: str | None = None
    price_increment: str | None = None


class _LatestTrade(msgspec.Struct):
    p: Raw


class _LatestTrades(msgspec.Struct):
    trades: dict[str, _LatestTrade] | None = None


class _LatestBooks(msgspec.Struct):
    orderbooks: dict[str, OrderBook] | None = None


async def alpaca_products(
    symbols: Sequence[str], settings: FeedSettings, keys: VenueKeys | None, rest: str = ""
) -> list[Instrument]:
    """Return Alpaca instruments in the order asked, all stocks or all crypto.

    Source: GET /v2/assets/{symbol}, /v2/stocks/trades/latest, latest/orderbooks.
    Errors: ``UserError`` for missing or wrong keys, an unknown or untradable symbol, a feed that
    the account has no right to, stocks mixed with crypto; ``TryAgain`` for the network.
    """
    is_crypto = ["/" in symbol for symbol in symbols]
    if any(is_crypto) and not all(is_crypto):
        raise UserError("alpaca: stocks and crypto have a stream each; run them apart")
    if keys is None:
        raise missing_keys("alpaca")
    if settings.alpaca_feed == "test" and not any(is_crypto):
        return [_test_instrument(symbol) for symbol in symbols]
    headers = {name: keys.fill(value) for name, value in KEY_HEADERS}
    async with client_of(rest or settings.alpaca_account_rest) as client:
        assets = [await _asset(client, symbol, headers, keys) for symbol in symbols]
    async with client_of(rest or settings.alpaca_rest) as client:
        if any(is_crypto):
            books = await _books(client, symbols, headers)
            return [_crypto(asset, books.get(asset.symbol)) for asset in assets]
        prices = await _prices(client, symbols, headers, settings)
        return [_stock(asset.symbol, prices.get(asset.symbol, ONE_USD)) for asset in assets]


async def _asset(
    client: httpx.AsyncClient, symbol: str, headers: Mapping[str, str], keys: VenueKeys
) -> _Asset:
    reply = await ask(client, f"/v2/assets/{quote(symbol, safe='')}", "alpaca", headers)
    if reply.status_code in _REFUSED:
        raise UserError(
            f"alpaca: the keys from {keys.source} were refused at {client.base_url.host} (HTTP "
            f"{reply.status_code}); a live account's keys need [feed] alpaca_account_rest = "
            '"https://api.alpaca.markets"'
        )
    if reply.status_code in {*NO_SUCH, 422}:
        raise unknown_symbol("alpaca", symbol)
    asset = decode_answer(body_of(reply, "alpaca"), _Asset, "alpaca")
    if asset.symbol != symbol:
        raise unknown_symbol("alpaca", symbol)
    if asset.status != "active" or not asset.tradable:
        raise UserError(f"alpaca {symbol}: the venue does not trade it now")
    return asset


async def _prices(
    client: httpx.AsyncClient,
    symbols: Sequence[str],
    headers: Mapping[str, str],
    settings: FeedSettings,
) -> dict[str, Decimal]:
    """Return the latest price of each stock that has one."""
    feed = settings.alpaca_feed
    path = f"/v2/stocks/trades/latest?symbols={quote(','.join(symbols), safe=',')}&feed={feed}"
    reply = await ask(client, path, "alpaca", headers)
    if reply.status_code in _REFUSED:
        raise UserError(
            f"alpaca: this account has no right to the feed {feed!r} (HTTP {reply.status_code}); "
            'take [feed] alpaca_feed = "iex", which every account has'
        )
    if reply.status_code in NO_SUCH:
        return {}
    told = decode_answer(body_of(reply, "alpaca"), _LatestTrades, "alpaca").trades or {}
    return {symbol: _read(trade.p) for symbol, trade in told.items()}


async def _books(
    client: httpx.AsyncClient,
    symbols: Sequence[str],
    headers: Mapping[str, str],
) -> dict[str, OrderBook]:
    """Return the latest book of each crypto instrument that has one."""
    path = f"{CRYPTO_PATH}/latest/orderbooks?symbols={quote(','.join(symbols), safe=',')}"
    reply = await ask(client, path, "alpaca", headers)
    if reply.status_code in NO_SUCH:
        return {}
    return decode_answer(body_of(reply, "alpaca"), _LatestBooks, "alpaca").orderbooks or {}


def _stock(symbol: str, price: Decimal) -> Instrument:
    return Instrument(
        venue="alpaca",
        name=symbol,
        base=symbol,
        quote="USD",
        tick_size=CENT if price >= ONE_USD else HUNDREDTH,
        lot_size=Decimal(1),
    )


def _crypto(asset: _Asset, book: OrderBook | None) -> Instrument:
    levels = [*(book.b or ()), *(book.a or ())] if book else []
    base, quoted = currencies("alpaca", asset.symbol)
    try:
        return Instrument(
            venue="alpaca",
            name=asset.symbol,
            base=base,
            quote=quoted,
            tick_size=_finest(asset.price_increment, [number(level.p) for level in levels]),
            lot_size=_finest(asset.min_trade_increment, [number(level.s) for level in levels]),
        )
    except ValueRefused as error:
        what = f"alpaca {asset.symbol}"
        raise UserError(f"{what}: its increments could not be read ({error})") from error


def _finest(listed: str | None, seen: Sequence[Decimal]) -> Decimal:
    """Return the listed increment, or the finest power of ten that what was seen needs.

    Errors: ``ValueRefused`` where there is neither.
    """
    increment = parse_decimal(listed) if listed else None
    off = [value for value in seen if value and (increment is None or value % increment)]
    if not off:
        if increment is None:
            raise ValueRefused("the list has none and there is no book")
        return increment
    places = min(int(value.normalize().as_tuple().exponent) for value in off)
    return min(Decimal(1).scaleb(places), increment or ONE_USD)


def _test_instrument(symbol: str) -> Instrument:
    if symbol != ALPACA_TEST_SYMBOL:
        raise UserError(
            f"alpaca: the test feed has {ALPACA_TEST_SYMBOL} alone, not {symbol[:40]!r}"
        )
    return _stock(symbol, ONE_USD)


def _read(price: Raw) -> Decimal:
    try:
        return number(price)
    except ValueRefused as error:
        raise TryAgain(f"alpaca: its latest trades could not be read ({error})") from error
