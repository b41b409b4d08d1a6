"""Builders of venue frames and small runs of them, for the feed tests."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from core.config import FeedSettings, Settings
from core.feeds.binance import BinanceProtocol
from core.feeds.coinbase import CoinbaseProtocol
from core.feeds.protocol import FeedProtocol
from core.model.instrument import Instrument
from core.model.market import (
    FeedOutput,
    FeedState,
    FeedStateChanged,
    FetchHttp,
    Reconnect,
    SendText,
    TradePrint,
)

S = 1_000_000_000
MS = 1_000_000
T0 = 1_700_000_000 * S


def instrument(venue: str, name: str, tick: str = "0.01", lot: str = "0.00001") -> Instrument:
    return Instrument(
        venue=venue,
        name=name,
        base="BTC",
        quote="USD",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
    )


def settings(**feed: Any) -> Settings:
    return Settings(feed=FeedSettings(**feed))


def binance(*names: str, **feed: Any) -> BinanceProtocol:
    """Return an opened protocol that waits for snapshots."""
    protocol = BinanceProtocol(
        [instrument("binance", name) for name in names or ("BTCUSDT",)], settings(**feed)
    )
    protocol.on_open(T0)
    return protocol


def coinbase(*names: str, **feed: Any) -> CoinbaseProtocol:
    protocol = CoinbaseProtocol(
        [instrument("coinbase", name, lot="0.00000001") for name in names or ("BTC-USD",)],
        settings(**feed),
    )
    protocol.on_open(T0)
    return protocol


def depth(
    first: int,
    last: int,
    bids: list[list[str]] | None = None,
    asks: list[list[str]] | None = None,
    name: str = "BTCUSDT",
) -> bytes:
    data = {"e": "depthUpdate", "E": 1_700_000_000_123, "s": name, "U": first, "u": last}
    return stream(f"{name.lower()}@depth@100ms", {**data, "b": bids or [], "a": asks or []})


def stream(name: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"stream": name, "data": data}, separators=(",", ":")).encode()


def snapshot(last_id: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    return json.dumps({"lastUpdateId": last_id, "bids": bids, "asks": asks}).encode()


def depth_url(name: str = "BTCUSDT") -> str:
    return f"https://anywhere.example/api/v3/depth?symbol={name}&limit=1000"


def trade(trade_id: int, price: str, qty: str, *, seller_took: bool, kind: str = "trade") -> bytes:
    data: dict[str, Any] = {"e": kind, "s": "BTCUSDT", "p": price, "q": qty, "m": seller_took}
    data |= {"t": trade_id} if kind == "trade" else {"a": 1, "f": trade_id, "l": trade_id}
    return stream(f"btcusdt@{kind}", {**data, "T": 1_700_000_000_123})


def ticker(update_id: int, bid: list[str], ask: list[str]) -> bytes:
    data = {"u": update_id, "s": "BTCUSDT", "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
    return stream("btcusdt@bookTicker", data)


def l2(number: int | None, kind: str, levels: list[tuple[str, str, str]], product: str) -> bytes:
    updates = [
        {"side": side, "event_time": "2026-08-09T21:05:48Z", "price_level": p, "new_quantity": q}
        for side, p, q in levels
    ]
    event = {"type": kind, "product_id": product, "updates": updates}
    return channel(number, "l2_data", [event])


def channel(number: int | None, name: str, events: list[dict[str, Any]]) -> bytes:
    frame: dict[str, Any] = {"channel": name, "timestamp": "2026-08-09T21:05:48.5Z"}
    if number is not None:
        frame["sequence_num"] = number
    return json.dumps({**frame, "events": events}, separators=(",", ":")).encode()


def market_trades(
    number: int, kind: str, trades: list[tuple[str, str, str, str]], product: str = "BTC-USD"
) -> bytes:
    """Build a trades frame of (id, price, size, side), newest first as the venue sends them."""
    rows = [
        {"product_id": product, "trade_id": i, "price": p, "size": q, "side": side, "time": TIME}
        for i, p, q, side in trades
    ]
    return channel(number, "market_trades", [{"type": kind, "trades": rows}])


TIME = "2026-08-09T21:05:48.167634Z"


def states(outputs: list[FeedOutput]) -> list[FeedState]:
    return [each.state for each in outputs if isinstance(each, FeedStateChanged)]


def fetches(outputs: list[FeedOutput]) -> list[FetchHttp]:
    return [each for each in outputs if isinstance(each, FetchHttp)]


def sent(outputs: list[FeedOutput]) -> list[dict[str, Any]]:
    return [json.loads(each.text) for each in outputs if isinstance(each, SendText)]


def reconnects(outputs: list[FeedOutput]) -> list[str]:
    return [each.reason for each in outputs if isinstance(each, Reconnect)]


def trades(outputs: list[FeedOutput]) -> list[TradePrint]:
    return [each for each in outputs if isinstance(each, TradePrint)]


def state(protocol: FeedProtocol, index: int = 0) -> FeedState:
    return protocol.instruments[index].state


def best(protocol: FeedProtocol, index: int = 0) -> tuple[str, str] | None:
    """Return best bid and ask as price text, or None where a side is empty."""
    feed = protocol.instruments[index]
    bid, ask = feed.book.best_bid, feed.book.best_ask
    if bid is None or ask is None:
        return None
    return feed.instrument.price_text(bid[0]), feed.instrument.price_text(ask[0])
