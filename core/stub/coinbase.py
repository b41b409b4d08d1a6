"""Coinbase Advanced Trade as its clients see it: one sequence a connection over everything sent.

Each channel is subscribed by a message of its own; each ack lists all that is subscribed. Source
of the wire form: ``docs/venues/coinbase.md``.
"""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import override

from core.clock import NS_PER_S
from core.feeds.symbols import coinbase_label
from core.stub.truth import ASK, BID, Change, Trade
from core.stub.venue import (
    BOOK,
    CONTROL,
    OTHER,
    SNAPSHOT,
    Answer,
    Request,
    Sent,
    Session,
    VenueModel,
    dumps,
)

CHANNELS = frozenset(
    {"heartbeats", "candles", "status", "ticker", "ticker_batch", "level2", "market_trades"}
)
MAX_NUMBERS = 20_000
"""Sequence numbers of a connection whose book can still be asked for."""
_SUBSCRIBE_NS = 5 * NS_PER_S
_PRODUCTS = "/api/v3/brokerage/market/products"
_SIDES = ("bid", "offer")


class CoinbaseSession(Session):
    """One socket with its sequence."""

    def __init__(self, venue: VenueModel, request: Request) -> None:
        super().__init__(venue, request)
        self._next = 0
        self._beats = 0
        self._subscribed: dict[str, set[int]] = {}
        self._told = [0] * len(self.books)
        """Version of each book as of the newest frame."""
        self._versions: dict[int, tuple[int, ...]] = {}

    @override
    def asked(self, data: bytes) -> list[Sent]:
        message = json.loads(data)
        channel = message.get("channel", "")
        wanted = message.get("product_ids", list(self.names))
        if channel not in CHANNELS:
            return [_error("authentication failure")]
        if any(name not in self.names for name in wanted):
            return [_error("failure to subscribe")]
        indices = [self.names.index(name) for name in wanted]
        active = self._subscribed.setdefault(channel, set())
        out: list[Sent] = []
        if message.get("type") == "unsubscribe":
            active.difference_update(indices)
        else:
            # Data may come before the ack, as they do at the venue.
            out += [each for index in indices for each in self._first(channel, index)]
            active.update(indices)
        return [*out, self.frame("subscriptions", [{"subscriptions": self._active()}], CONTROL)]

    @override
    def flush(self) -> list[Sent]:
        out: list[Sent] = []
        for index in range(len(self.books)):
            step = self.take(index)
            if step.changes and self.wants("level2", index):
                self._told[index] = self.books[index].version
                out.append(self.book_frame(index, "update", step.changes))
            if step.trades and self.wants("market_trades", index):
                out.append(self._trades(index, "update", step.trades))
            if step.trades and self.wants("ticker", index):
                out.append(self._ticker(index))
        return out

    @override
    def beat(self) -> list[Sent]:
        if "heartbeats" not in self._subscribed:
            return []
        self._beats += 1
        now = self.iso().replace("T", " ").replace("Z", " +0000 UTC")
        return [
            self.frame(
                "heartbeats", [{"current_time": now, "heartbeat_counter": self._beats}], OTHER
            )
        ]

    @override
    def overdue(self) -> str:
        is_late = self.venue.now_ns - self.opened_ns > _SUBSCRIBE_NS
        return "" if self._subscribed or not is_late else "nothing was subscribed for 5 s"

    @override
    def version_at(self, number: int, index: int) -> int | None:
        versions = self._versions.get(number)
        return versions[index] if versions else None

    @property
    @override
    def is_subscribed(self) -> bool:
        return bool(self._subscribed)

    @override
    def wants_frame(self, kind: str, index: int) -> bool:
        channel = "level2" if kind == "l2_data" else kind
        return self.wants(channel, index) or (index < 0 and channel in self._subscribed)

    @override
    def number_of(self, index: int) -> int:
        if index >= 0:
            self.told(index)
        return self.number()

    def wants(self, channel: str, index: int) -> bool:
        """Return whether a channel of an instrument is subscribed."""
        return index in self._subscribed.get(channel, ())

    def told(self, index: int) -> None:
        """The book of an instrument is told up to its newest version."""
        self._told[index] = self.books[index].version

    def book_frame(self, index: int, kind: str, changes: list[Change]) -> Sent:
        book, now = self.books[index], self.iso()
        updates = [
            {
                "side": _SIDES[each.side],
                "event_time": now,
                "price_level": book.price_text(each.ticks),
                "new_quantity": book.qty_text(each.lots) if each.lots else "0",
            }
            for each in changes
        ]
        event = {"type": kind, "product_id": coinbase_label(self.names[index]), "updates": updates}
        return self.frame("l2_data", [event], SNAPSHOT if kind == "snapshot" else BOOK, index)

    def frame(self, channel: str, events: list[Any], kind: str, index: int = -1) -> Sent:
        """Return the next frame of the connection."""
        head = {"channel": channel, "timestamp": self.iso(), "sequence_num": self.number()}
        return Sent(dumps({**head, "events": events}), kind, index)

    def number(self) -> int:
        """Return the next sequence number, and keep what the books are as of it."""
        number = self._next
        self._versions[number] = tuple(self._told)
        self._versions.pop(number - MAX_NUMBERS, None)
        self._next += 1
        return number

    def _first(self, channel: str, index: int) -> list[Sent]:
        """Return what a subscription begins with."""
        book = self.books[index]
        if channel == "level2" and any(book.sides):
            self.take(index)
            self.told(index)
            levels = [
                Change(side, t, q) for side in (BID, ASK) for t, q in book.sides[side].items()
            ]
            return [self.book_frame(index, "snapshot", levels)]
        if channel == "market_trades" and book.newest_trade is not None:
            return [self._trades(index, "snapshot", [book.newest_trade])]
        if channel == "ticker" and all(book.sides):
            return [self._ticker(index)]
        return []

    def _trades(self, index: int, kind: str, trades: list[Trade]) -> Sent:
        book = self.books[index]
        rows = [
            {
                "product_id": coinbase_label(self.names[index]),
                "trade_id": str(each.trade_id),
                "price": book.price_text(each.ticks),
                "size": book.qty_text(each.lots),
                # The maker's side: the one who did not take.
                "side": "SELL" if each.aggressor > 0 else "BUY",
                "time": self.iso(),
            }
            for each in reversed(trades)
        ]
        return self.frame("market_trades", [{"type": kind, "trades": rows}], OTHER, index)

    def _ticker(self, index: int) -> Sent:
        (bid, bid_qty), (ask, ask_qty) = self.touch(index)
        ticker = {
            "type": "ticker", "product_id": coinbase_label(self.names[index]), "price": bid,
            "volume_24_h": "1", "low_24_h": bid, "high_24_h": ask, "low_52_w": bid,
            "high_52_w": ask, "price_percent_chg_24_h": "0", "best_bid": bid,
            "best_bid_quantity": bid_qty, "best_ask": ask, "best_ask_quantity": ask_qty,
        }  # fmt: skip
        return self.frame("ticker", [{"type": "update", "tickers": [ticker]}], OTHER, index)

    def _active(self) -> dict[str, list[str]]:
        return {
            channel: [self.names[index] for index in sorted(indices)]
            for channel, indices in self._subscribed.items()
            if indices or channel == "heartbeats"
        }


class CoinbaseModel(VenueModel):
    """All products of the venue and its public REST side."""

    venue = "coinbase"
    flush_ms = 50

    @override
    def session(self, request: Request) -> Session:
        return CoinbaseSession(self, request)

    @override
    def answer(self, path: str, *, is_old: bool = False) -> Answer | None:
        path = path.partition("?")[0]
        if path == _PRODUCTS:
            products = [self._listed(index) for index in range(len(self.books))]
            return Answer(200, dumps({"products": products, "num_products": len(products)}))
        index = self.index_of(path.removeprefix(f"{_PRODUCTS}/"))
        if index is None:
            return Answer(404, dumps({"error": "NOT_FOUND"}))
        return Answer(200, dumps(self._listed(index)))

    def _listed(self, index: int) -> dict[str, Any]:
        book, name = self.books[index], self.names[index]
        base, _, quote = name.partition("-")
        label = coinbase_label(name)
        return {
            "product_id": name, "base_currency_id": base, "quote_currency_id": quote,
            "price_increment": book.price_text(1), "quote_increment": book.price_text(1),
            "base_increment": book.qty_text(1), "quote_min_size": "1", "status": "online",
            "is_disabled": False, "view_only": False, "alias": label if label != name else "",
        }  # fmt: skip


def _error(message: str) -> Sent:
    return Sent(dumps({"type": "error", "message": message}), CONTROL)
