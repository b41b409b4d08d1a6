"""Venues by name, symbols by spelling, instruments from the venues' product lists."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from core.errors import TryAgain, UnknownVenue, UserError, ValueRefused
from core.feeds.capture import VENUES
from core.feeds.registry import default_symbols, fetch_instruments, protocol_for
from core.feeds.symbols import coinbase_labels, currencies
from tests.core.feeds.wire import instrument, settings
from tests.stub_venue import StubVenue


def test_every_venue_has_a_protocol_and_default_symbols():
    for venue in VENUES:
        listed = [instrument(venue, name) for name in default_symbols(venue)]
        assert protocol_for(venue, listed, settings()).venue == venue


def test_unknown_venue_is_named_with_what_is_allowed():
    for ask in (lambda: protocol_for("x", [], settings()), lambda: default_symbols("x")):
        with pytest.raises(UnknownVenue, match="venue was 'x', allowed are sim, coinbase"):
            ask()


async def test_simulated_market_has_no_list_and_a_strange_venue_is_named():
    with pytest.raises(UserError, match="no product list"):
        await fetch_instruments("sim", ["X"])
    with pytest.raises(UnknownVenue, match="venue was 'x'"):
        await fetch_instruments("x", ["X"])


def test_test_feed_of_alpaca_watches_its_one_symbol():
    assert default_symbols("alpaca", settings(alpaca_feed="test")) == ("FAKEPACA",)
    assert default_symbols("alpaca", settings()) == ("SPY",)


@pytest.mark.parametrize(
    ("venue", "symbol", "want"),
    [
        ("binance", "BTCUSDT", ("BTC", "USDT")),
        ("binance", "ETHBTC", ("ETH", "BTC")),
        ("binance", "BTCFDUSD", ("BTC", "FDUSD")),
        ("coinbase", "BTC-USDC", ("BTC", "USDC")),
        ("alpaca", "IBM", ("IBM", "USD")),
        ("alpaca", "BTC/USD", ("BTC", "USD")),
    ],
)
def test_currencies_are_read_from_the_spelling(venue, symbol, want):
    assert currencies(venue, symbol) == want


def test_spelling_without_a_known_quote_is_refused():
    with pytest.raises(ValueRefused, match="no known quote currency"):
        currencies("binance", "ABCXYZ")


def test_labels_of_aliased_products_never_merge_two_subscriptions():
    assert coinbase_labels(["BTC-USDC"]) == {"BTC-USDC": 0, "BTC-USD": 0}
    assert coinbase_labels(["BTC-USDC", "BTC-USD"]) == {"BTC-USDC": 0, "BTC-USD": 1}
    assert coinbase_labels(["USDT-USDC"]) == {"USDT-USDC": 0}


BINANCE = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.01000000", "minPrice": "0.01"},
                {
                    "filterType": "LOT_SIZE",
                    "stepSize": "0.00001000",
                    "minQty": "0.0001",
                    "maxQty": "9000.0",
                },
                {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "0.0000"},
                {"filterType": "SOMETHING_NEW", "x": 1},
            ],
        }
    ]
}
COINBASE = {
    "product_id": "BTC-USD",
    "base_increment": "0.00000001",
    "price_increment": "0.01",
    "base_currency_id": "BTC",
    "quote_currency_id": "USD",
    "quote_min_size": "1",
    "quote_max_size": "150000000",
    "base_min_size": "0.00000001",
    "base_max_size": "",
}


EXCHANGE = {
    "id": "BTC-USD",
    "base_currency": "BTC",
    "quote_currency": "USD",
    "quote_increment": "0.01000000",
    "base_increment": "0.00000001",
    "min_market_funds": "1",
    "status": "online",
    "trading_disabled": False,
}


async def asked(venue, symbol, body, status=200):
    answer = (status, body if isinstance(body, bytes) else json.dumps(body).encode())
    async with StubVenue([[]], lambda _: answer) as stub:
        listed = await fetch_instruments(venue, [symbol], rest=stub.rest_address)
        return listed, stub.requests


async def test_binance_instrument_comes_from_its_filters():
    (one,), requests = await asked("binance", "BTCUSDT", BINANCE)
    assert requests == ["/api/v3/exchangeInfo?symbol=BTCUSDT"]
    assert (one.base, one.quote, one.tick_size) == ("BTC", "USDT", Decimal("0.01"))
    assert (one.lot_size, one.min_notional) == (Decimal("0.00001"), Decimal(5))
    assert (one.min_qty, one.max_qty, one.max_notional) == (Decimal("0.0001"), 9000, None)


async def test_coinbase_instrument_comes_from_its_product():
    (one,), requests = await asked("coinbase", "BTC-USD", COINBASE)
    assert requests == ["/api/v3/brokerage/market/products/BTC-USD?"]
    assert (one.base, one.quote, one.tick_size) == ("BTC", "USD", Decimal("0.01"))
    assert one.lot_size == Decimal("0.00000001")
    assert (one.min_qty, one.max_qty) == (Decimal("0.00000001"), None)
    assert (one.min_notional, one.max_notional) == (1, 150_000_000)


async def test_coinbase_exchange_instrument_comes_from_its_product():
    (one,), requests = await asked("coinbase-exchange", "BTC-USD", EXCHANGE)
    assert requests == ["/products/BTC-USD?"]
    assert (one.base, one.quote, one.tick_size) == ("BTC", "USD", Decimal("0.01"))
    assert (one.lot_size, one.min_notional) == (Decimal("0.00000001"), Decimal(1))


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({}, 404, "lists no symbol 'BTC-USD'"),
        ({"id": "ETH-USD"}, 200, "lists no symbol"),
        ({"status": "delisted"}, 200, "not trade it now"),
        ({"trading_disabled": True}, 200, "not trade it now"),
        ({"quote_increment": "x"}, 200, "increments could not be read"),
    ],
)
async def test_coinbase_exchange_product_that_cannot_be_traded_is_named(change, status, said):
    with pytest.raises(UserError, match=said):
        await asked("coinbase-exchange", "BTC-USD", EXCHANGE | change, status)


@pytest.mark.parametrize(
    ("venue", "body", "status", "said"),
    [
        ("binance", {"code": -1121, "msg": "Invalid symbol."}, 400, "lists no symbol 'BTCUSDT'"),
        ("binance", {"symbols": []}, 200, "lists no symbol"),
        ("binance", b"{}", 451, "does not serve this region"),
        (
            "binance",
            {"symbols": [{**BINANCE["symbols"][0], "status": "HALT"}]},
            200,
            "its status is 'HALT'",
        ),
        (
            "binance",
            {"symbols": [{**BINANCE["symbols"][0], "filters": []}]},
            200,
            "its filters could not be read",
        ),
        ("coinbase", {"error": "NOT_FOUND"}, 404, "lists no symbol"),
        ("coinbase", {**COINBASE, "product_id": "BTCUSDT", "is_disabled": True}, 200, "not trade"),
        ("coinbase", {**COINBASE, "product_id": "BTCUSDT", "price_increment": "x"}, 200, "read"),
    ],
)
async def test_mistake_of_the_user_is_a_user_error(venue, body, status, said):
    with pytest.raises(UserError, match=said):
        await asked(venue, "BTCUSDT", body, status)


@pytest.mark.parametrize(("body", "status"), [(b"", 503), (b"<html>", 200), (b"{}", 429)])
async def test_venue_that_cannot_answer_now_is_try_again(body, status):
    with pytest.raises(TryAgain, match="binance: its product list"):
        await asked("binance", "BTCUSDT", body, status)


async def test_nobody_listening_is_try_again():
    async with StubVenue([[]]) as stub:
        address = stub.rest_address
    with pytest.raises(TryAgain, match="could not be asked"):
        await fetch_instruments("coinbase", ["BTC-USD"], rest=address)
