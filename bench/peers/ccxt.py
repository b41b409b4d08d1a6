"""ccxt pro's ``handle_order_book`` of Binance and Coinbase, with the parser made quick (orjson)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import ccxt.pro
import orjson

from bench.peers.face import Contender, Sides
from bench.peers.scenario import Frame, Scenario


class _Client:
    """What the handler asks of a socket client: who waits for a book; nobody does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.subscriptions: dict[str, object] = {}

    def resolve(self, result: object, message_hash: str) -> None:
        """Take a finished book."""

    def reject(self, error: Exception, message_hash: str) -> None:
        """Take the handler's error."""
        raise RuntimeError(f"ccxt refused {message_hash}") from error


class Ccxt:
    """One venue object without a connection; books keep every level."""

    name = "ccxt pro"
    does = "orjson, its handle_order_book, floats, touch read; no features"

    def __init__(self, scenario: Scenario) -> None:
        self._is_binance = scenario.venue == "binance"
        self._venue: Any = ccxt.pro.binance() if self._is_binance else ccxt.pro.coinbase()
        address = "wss://stream.binance.com:9443/stream" if self._is_binance else "wss://coinbase"
        self._client = _Client(address)
        self._symbols = {one.name: f"{one.base}/{one.quote}" for one in scenario.instruments}
        markets = {
            symbol: self._venue.safe_market_structure(
                {"id": name, "symbol": symbol, "type": "spot", "spot": True, "active": True}
            )
            for name, symbol in self._symbols.items()
        }
        self._venue.markets = markets
        self._venue.markets_by_id = {market["id"]: [market] for market in markets.values()}

    def inputs(self, frames: Sequence[Frame]) -> list[bytes]:
        return [frame.data for frame in frames]

    def start(self, scenario: Scenario) -> None:
        self._venue.orderbooks = {}
        for name, body in scenario.snapshots.items():
            reply = orjson.loads(body)
            symbol = self._symbols[name]
            book = self._venue.order_book({}, None)
            snapshot = self._venue.parse_order_book(reply, symbol)
            snapshot["nonce"] = reply["lastUpdateId"]
            book.reset(snapshot)
            self._venue.orderbooks[symbol] = book
        for frame in scenario.stitched():
            self.receive(frame.data)

    def receive(self, one: bytes) -> object:
        message = orjson.loads(one)
        venue = self._venue
        if self._is_binance:
            event = message["data"]
            venue.handle_order_book(self._client, event)
            name = event["s"]
        else:
            venue.handle_order_book(self._client, message)
            name = message["events"][0]["product_id"]
        book = venue.orderbooks[self._symbols[name]]
        return book["bids"][:1], book["asks"][:1]

    def books(self) -> dict[str, Sides]:
        found = {}
        for name, symbol in self._symbols.items():
            book = self._venue.orderbooks[symbol]
            found[name] = Sides(
                *(
                    {Decimal(repr(price)): Decimal(repr(qty)) for price, qty in book[side]}
                    for side in ("bids", "asks")
                )
            )
        return found


def contenders(scenario: Scenario) -> list[Contender]:
    return [Ccxt(scenario)]
