"""cryptofeed's Binance and Coinbase feeds, their ``message_handler`` called as its socket would.

Its book sorts when it is read, not when it changes; so there are two rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Coroutine, Sequence
from decimal import Decimal
from typing import Any

from cryptofeed.defines import BINANCE, COINBASE, L2_BOOK
from cryptofeed.exchanges.binance import Binance
from cryptofeed.exchanges.coinbase import Coinbase
from cryptofeed.symbols import Symbols
from cryptofeed.types import OrderBook

from bench.peers.face import Contender, Sides
from bench.peers.scenario import Frame, Scenario


class Cryptofeed:
    """One feed with one callback, which reads the best levels or nothing."""

    def __init__(self, scenario: Scenario, *, reads_touch: bool) -> None:
        self.name = "cryptofeed, touch read" if reads_touch else "cryptofeed, unread"
        what = "best bid and ask read" if reads_touch else "book never read"
        self.does = f"its message_handler, Decimals, {what}; no features"
        self._reads_touch = reads_touch
        self._touch: tuple[object, object] | None = None
        self._is_binance = scenario.venue == "binance"
        self._symbols = {one.name: f"{one.base}-{one.quote}" for one in scenario.instruments}
        where = BINANCE if self._is_binance else COINBASE
        names = {standard: name for name, standard in self._symbols.items()}
        # What it would ask the venue for: names only, no network.
        Symbols.set(where, names, {"instrument_type": {}, "tick_size": {}})
        kind = Binance if self._is_binance else Coinbase
        logging.getLogger("feedhandler").setLevel(logging.CRITICAL)
        self._feed: Any = kind(
            symbols=list(names), channels=[L2_BOOK], callbacks={L2_BOOK: self._on_book}
        )

    @property
    def _books(self) -> dict[str, Any]:
        return self._feed._l2_book  # noqa: SLF001 (a REST snapshot has no other way in)

    async def _on_book(self, book: Any, receipt_timestamp: float) -> None:
        del receipt_timestamp
        if self._reads_touch:
            sides = book.book
            if len(sides.bids) and len(sides.asks):
                self._touch = (sides.bids.index(0), sides.asks.index(0))

    def inputs(self, frames: Sequence[Frame]) -> list[str]:
        return [frame.data.decode() for frame in frames]

    def start(self, scenario: Scenario) -> None:
        self._books.clear()
        for name, body in scenario.snapshots.items():
            reply = json.loads(body)
            standard = self._symbols[name]
            bids, asks = (
                {Decimal(price): Decimal(qty) for price, qty in reply[side]}
                for side in ("bids", "asks")
            )
            self._books[standard] = OrderBook(
                self._feed.id, standard, max_depth=0, bids=bids, asks=asks
            )
            self._feed.last_update_id[standard] = reply["lastUpdateId"]
        for one in self.inputs(list(scenario.stitched())):
            self.receive(one)
        # Its Coinbase feed takes asks of a snapshot by the name "ask", which the venue writes
        # "offer": its book begins without them, and the benchmark reports the difference.

    def receive(self, one: str) -> None:
        _run(self._feed.message_handler(one, None, 1.0))

    def books(self) -> dict[str, Sides]:
        found = {}
        for name, standard in self._symbols.items():
            book = self._books[standard].book
            found[name] = Sides(dict(book.bids.to_dict()), dict(book.asks.to_dict()))
        return found


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing; an event loop's cost is not the handler's."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the handler waited for something")


def contenders(scenario: Scenario) -> list[Contender]:
    return [Cryptofeed(scenario, reads_touch=False), Cryptofeed(scenario, reads_touch=True)]
