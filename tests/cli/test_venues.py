"""Which symbols and which address each venue of a run has."""

from __future__ import annotations

import pytest

from cli.venues import endpoint_of, symbols_by_venue, venues_of
from core.config import RunSettings
from core.errors import UserError


def test_one_venue_takes_symbols_with_or_without_its_name() -> None:
    run = RunSettings(venue="binance", symbols=("BTCUSDT", "binance:ETHUSDT"))
    assert symbols_by_venue(run) == {"binance": ("BTCUSDT", "ETHUSDT")}


def test_each_of_several_venues_gets_its_own_symbols_or_its_default() -> None:
    run = RunSettings(
        venue="alpaca", more_venues=("binance", "coinbase"), symbols=("alpaca:BTC/USD", "binance:A")
    )
    assert symbols_by_venue(run) == {"alpaca": ("BTC/USD",), "binance": ("A",), "coinbase": ()}


@pytest.mark.parametrize("symbol", ["BTCUSDT", "coinbase:BTC-USD", "binance:", ":X"])
def test_symbol_of_no_venue_of_the_run_is_refused(symbol: str) -> None:
    run = RunSettings(venue="binance", more_venues=("alpaca",), symbols=(symbol,))
    with pytest.raises(UserError, match=r"VENUE:SYMBOL .*binance, alpaca"):
        symbols_by_venue(run)


def test_venue_named_twice_and_company_for_the_simulated_market_are_refused() -> None:
    with pytest.raises(UserError, match="named twice"):
        venues_of(RunSettings(venue="binance", more_venues=("binance",)))
    with pytest.raises(UserError, match="runs alone"):
        venues_of(RunSettings(venue="sim", more_venues=("binance",)))


def test_endpoint_is_of_all_venues_or_of_the_named_ones() -> None:
    assert endpoint_of(None, "binance") is None
    assert endpoint_of("ws://a:1/?b=c", "binance") == "ws://a:1/?b=c"
    both = "binance=ws://a:1,coinbase=wss://b"
    assert [endpoint_of(both, each) for each in ("binance", "coinbase", "alpaca")] == [
        "ws://a:1",
        "wss://b",
        None,
    ]
