"""The careful Python programmer's book: orjson and one SortedDict a side, prices as floats."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
from sortedcontainers import SortedDict

from bench.peers.face import Contender, Sides
from bench.peers.scenario import Frame, Scenario
from core.model.market import DEPTH_LEVELS

Features = tuple[float, float, float, float, float, float, float, float]


class _Book:
    """Bids under the negative price, so that the best of both sides is the first."""

    def __init__(self) -> None:
        self.bids: Any = SortedDict()
        self.asks: Any = SortedDict()

    def set_bid(self, price: str, qty: str) -> None:
        quantity = float(qty)
        if quantity:
            self.bids[-float(price)] = quantity
        else:
            self.bids.pop(-float(price), None)

    def set_ask(self, price: str, qty: str) -> None:
        quantity = float(qty)
        if quantity:
            self.asks[float(price)] = quantity
        else:
            self.asks.pop(float(price), None)

    def features(self) -> Features | None:
        """Return touch, depth of ten, imbalances of both, weighted mid."""
        bids, asks = self.bids, self.asks
        if not bids or not asks:
            return None
        bid, bid_qty = bids.peekitem(0)
        ask, ask_qty = asks.peekitem(0)
        bid = -bid
        depth_bid = sum(bids.values()[:DEPTH_LEVELS])
        depth_ask = sum(asks.values()[:DEPTH_LEVELS])
        best = bid_qty + ask_qty
        return (
            bid,
            ask,
            bid_qty,
            ask_qty,
            depth_bid,
            depth_ask,
            (bid * ask_qty + ask * bid_qty) / best,
            (depth_bid - depth_ask) / (depth_bid + depth_ask),
        )


class SortedBooks:
    """One book a symbol; no sequence is checked."""

    name = "sortedcontainers"
    does = "orjson, SortedDict of floats, touch, depth 10; no sequence check"

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._books: dict[str, _Book] = {}
        self.receive = self._binance if venue == "binance" else self._coinbase

    def inputs(self, frames: Sequence[Frame]) -> list[bytes]:
        return [frame.data for frame in frames]

    def start(self, scenario: Scenario) -> None:
        self._books = {one.name: _Book() for one in scenario.instruments}
        for name, body in scenario.snapshots.items():
            reply = orjson.loads(body)
            for price, qty in reply["bids"]:
                self._books[name].set_bid(price, qty)
            for price, qty in reply["asks"]:
                self._books[name].set_ask(price, qty)
        for frame in scenario.stitched():
            self.receive(frame.data)

    def _binance(self, data: bytes) -> Features | None:
        event = orjson.loads(data)["data"]
        book = self._books[event["s"]]
        # Written out: a method call a level is a third of this row's time.
        bids, asks = book.bids, book.asks
        for price, qty in event["b"]:
            quantity = float(qty)
            if quantity:
                bids[-float(price)] = quantity
            else:
                bids.pop(-float(price), None)
        for price, qty in event["a"]:
            quantity = float(qty)
            if quantity:
                asks[float(price)] = quantity
            else:
                asks.pop(float(price), None)
        return book.features()

    def _coinbase(self, data: bytes) -> Features | None:
        features = None
        for event in orjson.loads(data)["events"]:
            name = event["product_id"]
            if event["type"] == "snapshot":
                self._books[name] = _Book()
            book = self._books[name]
            for update in event["updates"]:
                if update["side"] == "bid":
                    book.set_bid(update["price_level"], update["new_quantity"])
                else:
                    book.set_ask(update["price_level"], update["new_quantity"])
            features = book.features()
        return features

    def books(self) -> dict[str, Sides]:
        return {
            name: Sides(
                {Decimal(repr(-price)): Decimal(repr(qty)) for price, qty in book.bids.items()},
                {Decimal(repr(price)): Decimal(repr(qty)) for price, qty in book.asks.items()},
            )
            for name, book in self._books.items()
        }


def contenders(scenario: Scenario) -> list[Contender]:
    return [SortedBooks(scenario.venue)]
