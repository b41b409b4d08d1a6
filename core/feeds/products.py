"""Instruments from the venues' own product lists, asked once at the start over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from core.errors import TryAgain, UserError, ValueRefused
from core.model.instrument import Instrument, parse_decimal

COINBASE_REST = "https://api.coinbase.com"
_TIMEOUT_S = 10.0
_MAX_BODY_BYTES = 32 * 1024 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
NO_SUCH = frozenset({400, 404})
_T = TypeVar("_T")


class _Filter(msgspec.Struct):
    kind: str = msgspec.field(name="filterType")
    tick_size: str = msgspec.field(name="tickSize", default="")
    step_size: str = msgspec.field(name="stepSize", default="")
    min_qty: str = msgspec.field(name="minQty", default="0")
    max_qty: str = msgspec.field(name="maxQty", default="0")
    min_notional: str = msgspec.field(name="minNotional", default="0")
    max_notional: str = msgspec.field(name="maxNotional", default="0")


class _BinanceSymbol(msgspec.Struct):
    symbol: str
    status: str
    base: str = msgspec.field(name="baseAsset")
    quote: str = msgspec.field(name="quoteAsset")
    filters: list[_Filter]


class _BinanceList(msgspec.Struct):
    symbols: list[_BinanceSymbol]


class _CoinbaseExchangeProduct(msgspec.Struct):
    """One product of Coinbase Exchange, whose list has other names than Advanced Trade's."""

    id: str
    base_increment: str
    quote_increment: str
    base_currency: str
    quote_currency: str
    min_market_funds: str = "0"
    status: str = "online"
    trading_disabled: bool = False


class _CoinbaseProduct(msgspec.Struct):
    product_id: str
    base_increment: str
    price_increment: str
    base_currency_id: str
    quote_currency_id: str
    quote_min_size: str = "0"
    quote_max_size: str = "0"
    base_min_size: str = "0"
    base_max_size: str = "0"
    is_disabled: bool = False
    view_only: bool = False


async def binance_products(symbols: Sequence[str], rest: str) -> list[Instrument]:
    """Return Binance instruments in the order asked.

    Source: GET /api/v3/exchangeInfo, filters PRICE_FILTER, LOT_SIZE, NOTIONAL.
    Errors: ``UserError`` for an unknown or halted symbol; ``TryAgain`` for the network.
    """
    async with client_of(rest) as client:
        listed = [await _ask_binance(client, name) for name in symbols]
    return [_binance_instrument(one) for one in listed]


async def _ask_binance(client: httpx.AsyncClient, name: str) -> _BinanceSymbol:
    body = await _get(client, f"/api/v3/exchangeInfo?symbol={quote(name)}", "binance", name)
    found = [
        one for one in decode_answer(body, _BinanceList, "binance").symbols if one.symbol == name
    ]
    if not found:
        raise unknown_symbol("binance", name)
    return found[0]


def _binance_instrument(one: _BinanceSymbol) -> Instrument:
    if one.status != "TRADING":
        raise UserError(f"binance {one.symbol}: its status is {one.status[:20]!r}, not TRADING")
    by_kind = {each.kind: each for each in one.filters}
    notional = by_kind.get("NOTIONAL") or by_kind.get("MIN_NOTIONAL")
    try:
        size = by_kind["LOT_SIZE"]
        return Instrument(
            venue="binance",
            name=one.symbol,
            base=one.base,
            quote=one.quote,
            tick_size=parse_decimal(by_kind["PRICE_FILTER"].tick_size),
            lot_size=parse_decimal(size.step_size),
            min_notional=parse_decimal(notional.min_notional if notional else "0"),
            min_qty=parse_decimal(size.min_qty),
            max_qty=_most(size.max_qty),
            max_notional=_most(notional.max_notional if notional else "0"),
        )
    except (KeyError, ValueRefused) as error:
        raise UserError(f"binance {one.symbol}: its filters could not be read ({error})") from error


async def coinbase_products(symbols: Sequence[str], rest: str) -> list[Instrument]:
    """Return Coinbase Advanced Trade instruments in the order asked.

    Source: GET /api/v3/brokerage/market/products/{product_id}, public.
    Errors: ``UserError`` for an unknown or disabled product; ``TryAgain`` for the network.
    """
    instruments = []
    async with client_of(rest) as client:
        for name in symbols:
            path = f"/api/v3/brokerage/market/products/{quote(name, safe='')}"
            body = await _get(client, path, "coinbase", name)
            product = decode_answer(body, _CoinbaseProduct, "coinbase")
            if product.product_id != name:
                raise unknown_symbol("coinbase", name)
            instruments.append(_coinbase_instrument(product))
    return instruments


def _coinbase_instrument(product: _CoinbaseProduct) -> Instrument:
    if product.is_disabled or product.view_only:
        raise UserError(f"coinbase {product.product_id}: the venue does not trade it now")
    try:
        return Instrument(
            venue="coinbase",
            name=product.product_id,
            base=product.base_currency_id,
            quote=product.quote_currency_id,
            tick_size=parse_decimal(product.price_increment),
            lot_size=parse_decimal(product.base_increment),
            min_notional=parse_decimal(product.quote_min_size),
            min_qty=parse_decimal(product.base_min_size or "0"),
            max_qty=_most(product.base_max_size),
            max_notional=_most(product.quote_max_size),
        )
    except ValueRefused as error:
        name = product.product_id
        raise UserError(f"coinbase {name}: its increments could not be read ({error})") from error


async def coinbase_exchange_products(symbols: Sequence[str], rest: str) -> list[Instrument]:
    """Return Coinbase Exchange instruments in the order asked.

    Source: GET /products/{product_id}, public.
    Errors: ``UserError`` for an unknown or disabled product; ``TryAgain`` for the network.
    """
    instruments = []
    async with client_of(rest) as client:
        for name in symbols:
            path = f"/products/{quote(name, safe='')}"
            body = await _get(client, path, "coinbase-exchange", name)
            product = decode_answer(body, _CoinbaseExchangeProduct, "coinbase-exchange")
            if product.id != name:
                raise unknown_symbol("coinbase-exchange", name)
            instruments.append(_coinbase_exchange_instrument(product))
    return instruments


def _coinbase_exchange_instrument(product: _CoinbaseExchangeProduct) -> Instrument:
    if product.trading_disabled or product.status != "online":
        raise UserError(f"coinbase-exchange {product.id}: the venue does not trade it now")
    try:
        return Instrument(
            venue="coinbase-exchange",
            name=product.id,
            base=product.base_currency,
            quote=product.quote_currency,
            tick_size=parse_decimal(product.quote_increment),
            lot_size=parse_decimal(product.base_increment),
            min_notional=parse_decimal(product.min_market_funds),
        )
    except ValueRefused as error:
        what = f"coinbase-exchange {product.id}"
        raise UserError(f"{what}: its increments could not be read ({error})") from error


def _most(text: str) -> Decimal | None:
    """Return an upper bound; a venue's zero says that it has none."""
    return parse_decimal(text or "0") or None


def is_loopback(address: str) -> bool:
    """Return whether the address is this machine, which no proxy can reach."""
    return urlsplit(address).hostname in _LOOPBACK


def client_of(rest: str) -> httpx.AsyncClient:
    """Return a client of a venue's REST; the caller closes it."""
    return httpx.AsyncClient(
        base_url=rest, timeout=_TIMEOUT_S, trust_env=not is_loopback(rest), follow_redirects=False
    )


async def ask(
    client: httpx.AsyncClient, path: str, venue: str, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Return the venue's answer, whatever its status.

    Errors: ``TryAgain`` for the network; ``UserError`` where the venue does not serve the region.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reply = await client.get(path, headers=dict(headers or {}))
    except (httpx.HTTPError, TimeoutError) as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise TryAgain(f"{venue}: its product list could not be asked ({said})") from error
    if reply.status_code == httpx.codes.UNAVAILABLE_FOR_LEGAL_REASONS:
        raise UserError(f"{venue}: the venue does not serve this region (HTTP 451)")
    return reply


async def _get(client: httpx.AsyncClient, path: str, venue: str, name: str) -> bytes:
    reply = await ask(client, path, venue)
    if reply.status_code in NO_SUCH:
        raise unknown_symbol(venue, name)
    return body_of(reply, venue)


def body_of(reply: httpx.Response, venue: str) -> bytes:
    """Return the body of a good answer. Errors: ``TryAgain`` for any other."""
    if reply.status_code != httpx.codes.OK or len(reply.content) > _MAX_BODY_BYTES:
        raise TryAgain(f"{venue}: its product list answered HTTP {reply.status_code}")
    return reply.content


def decode_answer(body: bytes, kind: type[_T], venue: str) -> _T:
    """Return the typed body of an answer. Errors: ``TryAgain`` for what is no such."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TryAgain(f"{venue}: its product list could not be read ({error})") from error


def unknown_symbol(venue: str, name: str) -> UserError:
    return UserError(f"{venue}: it lists no symbol {name[:40]!r}")
