"""A naive reading of captures: json, dicts and Decimals; the judge of the fast path.

Shares no code with ``core`` on purpose: slow, obvious, and written from the venue pages. It reads
the replay summary of the blueprint out of a capture, for captures whose streams have no gap.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


def text(value: Decimal) -> str:
    """Return plain decimal text without trailing zeros."""
    plain = f"{value:f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return plain


@dataclass
class Market:
    """One instrument: two dicts of price to quantity, and the tape's sums."""

    tick: Decimal
    lot: Decimal
    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    state: str = "resyncing"
    update_id: int = 0
    waiting: list[dict[str, Any]] = field(default_factory=list)
    trades: int = 0
    buy: Decimal = Decimal(0)
    sell: Decimal = Decimal(0)
    unknown: Decimal = Decimal(0)
    last: list[str] | None = None
    crossed: int = 0
    best_bid: Decimal | None = None
    best_ask: Decimal | None = None
    off_lot: int = 0

    def is_on_grid(self, price: Decimal, qty: Decimal) -> bool:
        return price % self.tick == 0 and qty % self.lot == 0

    def set_levels(self, side: dict[Decimal, Decimal], pairs: list[list[str]]) -> None:
        for price_text, qty_text in pairs:
            price, qty = Decimal(price_text), Decimal(qty_text)
            assert price % self.tick == 0, price
            if qty % self.lot:
                # Real: old orders of a finer lot, far from the market; whole lots are shown.
                self.off_lot += 1
                qty -= qty % self.lot
            if qty == 0:
                side.pop(price, None)
            else:
                side[price] = qty
            self._follow_best(side, price)

    def _follow_best(self, side: dict[Decimal, Decimal], price: Decimal) -> None:
        """Keep the best price of the side; only losing it needs a look at every level."""
        pick, name = (max, "best_bid") if side is self.bids else (min, "best_ask")
        best = getattr(self, name)
        if price in side and (best is None or pick(best, price) == price):
            setattr(self, name, price)
        elif price == best and price not in side:
            setattr(self, name, pick(side, default=None))

    def start_over(self) -> None:
        self.bids, self.asks = {}, {}
        self.best_bid = self.best_ask = None
        self.state = "live"

    def look(self) -> None:
        """Count a crossed or locked book, once a message."""
        if self.best_bid is not None and self.best_ask is not None:
            self.crossed += self.best_bid >= self.best_ask

    def add_trade(self, price: Decimal, qty: Decimal, aggressor: str) -> None:
        self.trades += 1
        setattr(self, aggressor, getattr(self, aggressor) + qty)
        self.last = [text(price), text(qty)]

    def report(self) -> dict[str, Any]:
        def best(side: dict[Decimal, Decimal], highest: bool) -> list[list[str]]:
            return [[text(p), text(side[p])] for p in sorted(side, reverse=highest)[:10]]

        return {
            "state": self.state,
            "bids": best(self.bids, True),
            "asks": best(self.asks, False),
            "trades": self.trades,
            "buy_volume": text(self.buy),
            "sell_volume": text(self.sell),
            "unknown_volume": text(self.unknown),
            "last_trade": self.last,
            "crossed": self.crossed,
        }


def naive_summary(path: Path) -> dict[str, Any]:
    """Return the replay summary of a capture, read naively."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        meta = json.loads(next(lines))
        records = [json.loads(line) for line in lines]
    markets = {
        name: Market(
            Decimal(meta["instruments"][name]["price_increment"]),
            Decimal(meta["instruments"][name]["size_increment"]),
        )
        for name in meta["symbols"]
    }
    read = {
        "binance": _binance,
        "coinbase": _coinbase,
        "coinbase-exchange": _coinbase_exchange,
        "alpaca": _alpaca,
    }[meta["venue"]]
    counts = {"frames": 0, "refused": 0, "gaps": 0, "resyncs": 0}
    for record in records:
        if record["k"] == "recv":
            counts["frames"] += 1
            counts["refused"] += read(markets, json.loads(record["d"], parse_float=Decimal))
        elif record["k"] == "http":
            _binance_snapshot(markets, record["url"], json.loads(record["d"]))
    instruments = {name: market.report() for name, market in markets.items()}
    return {"venue": meta["venue"], **counts, "instruments": instruments}


def _binance(markets: dict[str, Market], frame: dict[str, Any]) -> int:
    data = frame["data"]
    if data.get("e") in {"trade", "aggTrade"}:
        aggressor = "sell" if data["m"] else "buy"
        markets[data["s"]].add_trade(Decimal(data["p"]), Decimal(data["q"]), aggressor)
    elif data.get("e") == "depthUpdate":
        market = markets[data["s"]]
        if market.state == "live":
            _binance_event(market, data)
        else:
            market.waiting.append(data)
    return 0


def _binance_event(market: Market, data: dict[str, Any]) -> None:
    if data["u"] <= market.update_id:
        return
    assert data["U"] <= market.update_id + 1, "the oracle reads only captures without gaps"
    market.set_levels(market.bids, data["b"])
    market.set_levels(market.asks, data["a"])
    market.update_id = data["u"]
    market.look()


def _binance_snapshot(markets: dict[str, Market], url: str, body: dict[str, Any]) -> None:
    market = markets[parse_qs(urlsplit(url).query)["symbol"][0]]
    if market.state == "live":
        return
    market.set_levels(market.bids, body["bids"])
    market.set_levels(market.asks, body["asks"])
    market.update_id = body["lastUpdateId"]
    market.state = "live"
    for data in market.waiting:
        _binance_event(market, data)


def _coinbase(markets: dict[str, Market], frame: dict[str, Any]) -> int:
    for event in frame["events"]:
        if frame["channel"] == "l2_data":
            market = markets[event["product_id"]]
            if event["type"] == "snapshot":
                market.start_over()
            for level in event["updates"]:
                side = market.bids if level["side"] == "bid" else market.asks
                market.set_levels(side, [[level["price_level"], level["new_quantity"]]])
            market.look()
        elif frame["channel"] == "market_trades" and event["type"] == "update":
            for trade in reversed(event["trades"]):
                taker = "buy" if trade["side"] == "SELL" else "sell"
                market = markets[trade["product_id"]]
                market.add_trade(Decimal(trade["price"]), Decimal(trade["size"]), taker)
    return 0


def _coinbase_exchange(markets: dict[str, Market], frame: dict[str, Any]) -> int:
    if frame["type"] == "snapshot":
        market = markets[frame["product_id"]]
        market.start_over()
        market.set_levels(market.bids, frame["bids"])
        market.set_levels(market.asks, frame["asks"])
        market.look()
    elif frame["type"] == "l2update":
        market = markets[frame["product_id"]]
        for side, price, size in frame["changes"]:
            market.set_levels(market.bids if side == "buy" else market.asks, [[price, size]])
        market.look()
    elif frame["type"] == "match":
        taker = "buy" if frame["side"] == "sell" else "sell"
        market = markets[frame["product_id"]]
        market.add_trade(Decimal(frame["price"]), Decimal(frame["size"]), taker)
    return 0


def _alpaca(markets: dict[str, Market], frame: list[dict[str, Any]]) -> int:
    refused = 0
    for message in frame:
        if message["T"] == "t":
            market, price, qty = markets[message["S"]], Decimal(message["p"]), Decimal(message["s"])
            if market.is_on_grid(price, qty):
                market.add_trade(price, qty, "unknown")
            else:
                refused += 1
        elif message["T"] == "q":
            market = markets[message["S"]]
            bid = (Decimal(message["bp"]), Decimal(message["bs"]))
            ask = (Decimal(message["ap"]), Decimal(message["as"]))
            if market.is_on_grid(*bid) and market.is_on_grid(*ask):
                market.start_over()
                market.bids = {bid[0]: bid[1]} if bid[0] and bid[1] else {}
                market.asks = {ask[0]: ask[1]} if ask[0] and ask[1] else {}
                market.best_bid = max(market.bids, default=None)
                market.best_ask = min(market.asks, default=None)
                market.look()
            else:
                refused += 1
    return refused
