"""nautilus_trader's Binance adapter: its decoder, its deltas, its OrderBook (Cython over Rust)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from nautilus_trader.adapters.binance.common.schemas.market import (
    BinanceDepth,
    BinanceOrderBookMsg,
)
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId

from bench.peers.face import Absent, Contender, Sides
from bench.peers.scenario import Frame, Scenario

_MESSAGE = msgspec.json.Decoder(BinanceOrderBookMsg)
_SNAPSHOT = msgspec.json.Decoder(BinanceDepth)


class Nautilus:
    """Decode, make one delta object a level, apply them, read the best prices."""

    name = "nautilus_trader"
    does = "its msgspec decode, delta objects, OrderBook (Rust), touch read; no features"

    def __init__(self, scenario: Scenario) -> None:
        self._ids = {
            one.name: InstrumentId.from_str(f"{one.name}.BINANCE") for one in scenario.instruments
        }
        self._books: dict[str, OrderBook] = {}

    def inputs(self, frames: Sequence[Frame]) -> list[bytes]:
        return [frame.data for frame in frames]

    def start(self, scenario: Scenario) -> None:
        for name, instrument_id in self._ids.items():
            self._books[name] = OrderBook(instrument_id, BookType.L2_MBP)
            reply = _SNAPSHOT.decode(scenario.snapshots[name])
            self._books[name].apply_deltas(reply.parse_to_order_book_snapshot(instrument_id, 0))
        for frame in scenario.stitched():
            self.receive(frame.data)

    def receive(self, one: bytes) -> object:
        event = _MESSAGE.decode(one).data
        book = self._books[event.s]
        book.apply_deltas(event.parse_to_order_book_deltas(self._ids[event.s], 0))
        return book.best_bid_price(), book.best_ask_price()

    def books(self) -> dict[str, Sides]:
        return {
            name: Sides(
                *(
                    {Decimal(str(one.price)): Decimal(str(one.orders()[0].size)) for one in side}
                    for side in (book.bids(), book.asks())
                )
            )
            for name, book in self._books.items()
        }


def contenders(scenario: Scenario) -> list[Contender]:
    if scenario.venue != "binance":
        raise Absent("has no Python handler for Coinbase Advanced Trade (its adapter is Rust)")
    return [Nautilus(scenario)]
