"""Alpaca instruments: increments from price and list, and each refusal in one clear line."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from core.errors import TryAgain, UserError
from core.feeds.registry import fetch_instruments
from core.secrets import loopback_keys
from tests.core.feeds.wire import settings
from tests.stub_venue import StubVenue

STOCK = {
    "class": "us_equity", "symbol": "SPY", "status": "active", "tradable": True,
    "fractionable": True,
}  # fmt: skip
CRYPTO = {
    "class": "crypto", "symbol": "BTC/USD", "status": "active", "tradable": True,
    "min_order_size": "0.0001", "min_trade_increment": "0.0001", "price_increment": "1",
}  # fmt: skip


async def asked(
    *symbols, assets=STOCK, latest=None, status=200, latest_status=200, keys=True, **feed
):
    def answer(path):
        if path.startswith("/v2/assets/"):
            return status, json.dumps(assets).encode()
        return latest_status, json.dumps(latest or {}).encode()

    async with StubVenue([[]], answer) as stub:
        listed = await fetch_instruments(
            "alpaca", symbols, settings(**feed), rest=stub.rest_address,
            keys=loopback_keys() if keys else None,
        )  # fmt: skip
        return listed, stub.requests


@pytest.mark.parametrize(
    ("price", "tick"), [("500.123", "0.01"), ("1", "0.01"), ("0.9999", "0.0001")]
)
async def test_tick_of_a_stock_follows_its_price_and_the_lot_is_one_share(price, tick):
    latest = {"trades": {"SPY": {"p": float(price)}}}
    (one,), requests = await asked("SPY", latest=latest)
    assert (one.tick_size, one.lot_size) == (Decimal(tick), Decimal(1))
    assert (one.base, one.quote) == ("SPY", "USD")
    assert requests == ["/v2/assets/SPY?", "/v2/stocks/trades/latest?symbols=SPY&feed=iex"]


@pytest.mark.parametrize(("latest", "status"), [({}, 200), ({"trades": None}, 200), ({}, 404)])
async def test_stock_that_never_traded_has_cents(latest, status):
    (one,), _ = await asked("SPY", latest=latest, latest_status=status)
    assert one.tick_size == Decimal("0.01")


async def test_crypto_takes_the_increments_of_the_list_unless_its_book_is_finer():
    (one,), requests = await asked("BTC/USD", assets=CRYPTO)
    assert requests[0] == "/v2/assets/BTC%2FUSD?"
    assert (one.tick_size, one.lot_size) == (Decimal(1), Decimal("0.0001"))
    levels = [{"p": 71859.53, "s": 0.27}, {"p": 71849.4, "s": 0.275}]
    latest = {"orderbooks": {"BTC/USD": {"b": levels, "a": [{"p": 71940, "s": 1e-09}]}}}
    (one,), _ = await asked("BTC/USD", assets=CRYPTO, latest=latest)
    assert (one.tick_size, one.lot_size) == (Decimal("0.01"), Decimal("0.000000001"))
    assert (one.base, one.quote) == ("BTC", "USD")


async def test_test_feed_asks_nothing_and_has_one_symbol():
    (one,), requests = await asked("FAKEPACA", alpaca_feed="test")
    assert (one.name, one.tick_size, requests) == ("FAKEPACA", Decimal("0.01"), [])
    with pytest.raises(UserError, match="FAKEPACA alone, not 'SPY'"):
        await asked("SPY", alpaca_feed="test")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keys": False}, "needs keys and there are none: `tapewright secrets set alpaca`"),
        ({"status": 401}, "the keys from the test bed's stand-in were refused at 127.0.0.1"),
        ({"status": 403}, "alpaca_account_rest"),
        ({"status": 404}, "lists no symbol 'SPY'"),
        ({"status": 422}, "lists no symbol 'SPY'"),
        ({"assets": STOCK | {"symbol": "QQQ"}}, "lists no symbol 'SPY'"),
        ({"assets": STOCK | {"tradable": False}}, "does not trade it now"),
        ({"assets": STOCK | {"status": "inactive"}}, "does not trade it now"),
        ({"latest_status": 403, "alpaca_feed": "sip"}, "no right to the feed 'sip'"),
    ],
)
async def test_what_the_user_can_mend_is_one_line(options, said):
    with pytest.raises(UserError, match=said) as refused:
        await asked("SPY", **options)
    assert "\n" not in str(refused.value)
    assert "loopback-" not in str(refused.value)


async def test_stocks_and_crypto_are_not_mixed():
    with pytest.raises(UserError, match="run them apart"):
        await asked("SPY", "BTC/USD")


async def test_crypto_without_increments_and_book_is_refused():
    with pytest.raises(UserError, match="increments could not be read"):
        await asked("BTC/USD", assets=CRYPTO | {"price_increment": None})


@pytest.mark.parametrize(
    "options",
    [
        {"status": 429},
        {"status": 500},
        {"latest_status": 500},
        {"latest": {"trades": {"SPY": {"p": "x"}}}},
        {"assets": []},
    ],
)
async def test_venue_that_cannot_answer_now_is_try_again(options):
    with pytest.raises(TryAgain, match="alpaca: its"):
        await asked("SPY", **options)
