"""Coinbase Exchange as its clients see it: snapshot, ``l2update``, matches, tickers, heartbeats.

No id on the book: a client can only compare it with heartbeats (``last_trade_id``) and tickers.
Source of the wire form: ``docs/venues/coinbase-exchange.md``.
"""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import override

from core.clock import NS_PER_S
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

_BOOKS = frozenset({"level2_batch", "level2_50"})
_NEED_KEY = frozenset({"level2", "full", "user", "balance"})
CHANNELS = _BOOKS | _NEED_KEY | {"matches", "ticker", "ticker_batch", "heartbeat", "status"}
_SUBSCRIBE_NS = 5 * NS_PER_S
_WORDS = ("buy", "sell")


class CoinbaseExchangeSession(Session):
    """One socket; ``level2_batch`` is flushed every 50 ms."""

    def __init__(self, venue: VenueModel, request: Request) -> None:
        super().__init__(venue, request)
        self._subscribed: dict[str, set[int]] = {}

    @override
    def asked(self, data: bytes) -> list[Sent]:
        message = json.loads(data)
        wanted = self._wanted(message)
        for channel, names in wanted:
            strange = next((name for name in names if name not in self.names), None)
            if channel not in CHANNELS:
                return [_error(f"{channel} is not a valid channel")]
            if channel in _NEED_KEY and not message.get("key"):
                return [_error(f"{channel} requires authentication")]
            if strange is not None:
                return [_error(f"{strange} is not a valid product")]
        out: list[Sent] = []
        for channel, names in wanted:
            out += self._change(channel, [self.names.index(name) for name in names], message)
        return [Sent(dumps(self._active()), CONTROL), *out]

    @override
    def flush(self) -> list[Sent]:
        out: list[Sent] = []
        for index in range(len(self.books)):
            step = self.take(index)
            if self._wants("matches", index):
                out += [self._match(index, each, "match") for each in step.trades]
            if step.changes and any(self._wants(each, index) for each in (*_BOOKS, "level2")):
                out.append(self.update_frame(index, step.changes))
            if step.trades and self._wants("ticker", index):
                out.append(self._ticker(index, step.trades[-1]))
        return out

    @override
    def beat(self) -> list[Sent]:
        return [
            Sent(dumps({**self._head("heartbeat", index), "last_trade_id": book.trade_id}), OTHER,
                 index)
            for index, book in enumerate(self.books)
            if self._wants("heartbeat", index)
        ]  # fmt: skip

    @override
    def overdue(self) -> str:
        is_late = self.venue.now_ns - self.opened_ns > _SUBSCRIBE_NS
        return "" if self._subscribed or not is_late else "nothing was subscribed for 5 s"

    @property
    @override
    def is_subscribed(self) -> bool:
        return bool(self._subscribed)

    @override
    def wants_frame(self, kind: str, index: int) -> bool:
        if kind in {"snapshot", "l2update"}:
            return any(self._wants(each, index) for each in (*_BOOKS, "level2"))
        return self._wants({"match": "matches", "last_match": "matches"}.get(kind, kind), index)

    def update_frame(self, index: int, changes: list[Change]) -> Sent:
        book = self.books[index]
        rows = [
            (_WORDS[each.side], book.price_text(each.ticks), book.qty_text(each.lots))
            for each in changes
        ]
        frame = {"type": "l2update", "product_id": self.names[index], "changes": rows}
        return Sent(dumps({**frame, "time": self.iso()}), BOOK, index)

    def _wanted(self, message: dict[str, Any]) -> list[tuple[str, list[str]]]:
        products = message.get("product_ids", [])
        return [
            (each, products)
            if isinstance(each, str)
            else (each.get("name", ""), each.get("product_ids", products))
            for each in message.get("channels", [])
        ]

    def _change(self, channel: str, indices: list[int], message: dict[str, Any]) -> list[Sent]:
        active = self._subscribed.setdefault(channel, set())
        if message.get("type") == "unsubscribe":
            active.difference_update(indices)
            return []
        active.update(indices)
        return [each for index in indices for each in self._first(channel, index)]

    def _first(self, channel: str, index: int) -> list[Sent]:
        book = self.books[index]
        if channel in _BOOKS | {"level2"} and any(book.sides):
            # Trades that were not told yet are told; the changes are in the snapshot.
            self.steps[index].changes = []
            head = {"type": "snapshot", "product_id": self.names[index], "time": self.iso()}
            rows = {"bids": book.rows(BID), "asks": book.rows(ASK)}
            return [Sent(dumps(head | rows), SNAPSHOT, index)]
        if channel == "matches" and book.newest_trade is not None:
            self.steps[index].trades = []
            return [self._match(index, book.newest_trade, "last_match")]
        if channel == "ticker" and book.newest_trade is not None:
            return [self._ticker(index, book.newest_trade)]
        return []

    def _head(self, kind: str, index: int) -> dict[str, Any]:
        sequence = self.books[index].version
        name = self.names[index]
        return {"type": kind, "product_id": name, "sequence": sequence, "time": self.iso()}

    def _match(self, index: int, trade: Trade, kind: str) -> Sent:
        book = self.books[index]
        maker = "sell" if trade.aggressor > 0 else "buy"
        frame = self._head(kind, index) | {
            "trade_id": trade.trade_id, "maker_order_id": f"{trade.trade_id:032x}",
            "taker_order_id": f"{trade.trade_id + 1:032x}", "side": maker,
            "size": book.qty_text(trade.lots), "price": book.price_text(trade.ticks),
        }  # fmt: skip
        return Sent(dumps(frame), OTHER, index)

    def _ticker(self, index: int, trade: Trade) -> Sent:
        book = self.books[index]
        (bid, bid_qty), (ask, ask_qty) = self.touch(index)
        price = book.price_text(trade.ticks)
        frame = self._head("ticker", index) | {
            "price": price, "open_24h": price, "volume_24h": "1", "low_24h": price,
            "high_24h": price, "volume_30d": "1", "best_bid": bid, "best_bid_size": bid_qty,
            "best_ask": ask, "best_ask_size": ask_qty,
            "side": "buy" if trade.aggressor > 0 else "sell", "trade_id": trade.trade_id,
            "last_size": book.qty_text(trade.lots),
        }  # fmt: skip
        return Sent(dumps(frame), OTHER, index)

    def _active(self) -> dict[str, Any]:
        channels = [
            {
                "name": "level2_50" if channel in _BOOKS else channel,
                "product_ids": [self.names[index] for index in sorted(indices)],
                "account_ids": None,
            }
            for channel, indices in self._subscribed.items()
            if indices
        ]
        return {"type": "subscriptions", "channels": channels}

    def _wants(self, channel: str, index: int) -> bool:
        return index in self._subscribed.get(channel, ())


class CoinbaseExchangeModel(VenueModel):
    """All products of the venue and its product list."""

    venue = "coinbase-exchange"
    proves_loss = False
    flush_ms = 50

    @override
    def session(self, request: Request) -> Session:
        return CoinbaseExchangeSession(self, request)

    @override
    def answer(self, path: str, *, is_old: bool = False) -> Answer | None:
        path = path.partition("?")[0]
        if path == "/products":
            return Answer(200, dumps([self._listed(index) for index in range(len(self.books))]))
        index = self.index_of(path.removeprefix("/products/"))
        if index is None:
            return Answer(404, dumps({"message": "NotFound"}))
        return Answer(200, dumps(self._listed(index)))

    def _listed(self, index: int) -> dict[str, Any]:
        book, name = self.books[index], self.names[index]
        base, _, quote = name.partition("-")
        return {
            "id": name, "base_currency": base, "quote_currency": quote,
            "base_increment": book.qty_text(1), "quote_increment": book.price_text(1),
            "display_name": name.replace("-", "/"), "min_market_funds": "1",
            "status": "online", "status_message": "", "trading_disabled": False,
            "cancel_only": False, "post_only": False, "limit_only": False,
            "auction_mode": False, "fx_stablecoin": False, "margin_enabled": False,
        }  # fmt: skip


def _error(reason: str) -> Sent:
    message = {"type": "error", "message": "Failed to subscribe", "reason": reason}
    return Sent(dumps(message), CONTROL)
