"""Alpaca's market data stream as its clients see it: handshake, quotes, trades, crypto books.

Every frame is an array of mixed messages, in JSON or, where the client asked at connecting, in
msgpack. Nothing is numbered. Source of the wire form: ``docs/venues/alpaca.md``.
"""

from __future__ import annotations

import json
import struct
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from typing_extensions import override

from core.clock import NS_PER_S, iso_ns
from core.feeds.times import rfc3339_ns
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

_STOCK = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
_CRYPTO = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks")
_AUTH_NS = 10 * NS_PER_S
REFUSED_KEY = "refused"
"""A key that the stub refuses, as a venue refuses a wrong one; it takes every other."""
_TIMESTAMP = -1
"""Extension type of a msgpack time."""


class AlpacaSession(Session):
    """One socket: it says hello, wants a key, then tells what is subscribed."""

    def __init__(self, venue: VenueModel, request: Request) -> None:
        super().__init__(venue, request)
        self.is_crypto = "crypto" in request.path
        self.channels = _CRYPTO if self.is_crypto else _STOCK
        self._is_in = bool(request.key) and request.key != REFUSED_KEY
        self._subscribed: dict[str, list[str]] = {channel: [] for channel in self.channels}

    @override
    def greeting(self) -> list[Sent]:
        hello = [{"T": "success", "msg": "connected"}]
        if self._is_in:
            hello.append({"T": "success", "msg": "authenticated"})
        return [self.frame([each], CONTROL) for each in hello]

    @override
    def asked(self, data: bytes) -> list[Sent]:
        try:
            message = msgspec.msgpack.decode(data) if self._is_packed(data) else json.loads(data)
            action = message.get("action")
        except (msgspec.DecodeError, ValueError, AttributeError):
            return [self._error(400, "invalid syntax")]
        if action == "auth":
            return [self._login(message)]
        if not self._is_in:
            return [self._error(401, "not authenticated")]
        if action in {"subscribe", "unsubscribe"}:
            return self._subscribe(message, is_more=action == "subscribe")
        return [self._error(400, "invalid syntax")]

    @override
    def flush(self) -> list[Sent]:
        out: list[Sent] = []
        for index, name in enumerate(self.names):
            step = self.take(index)
            messages = [
                self.trade(index, each) for each in step.trades if self.wants("trades", name)
            ]
            if step.changes and self.wants("orderbooks", name):
                messages.append(self.book(index, step.changes, is_anew=False))
            if step.changes and self.wants("quotes", name):
                messages.append(self.quote(index))
            if messages:
                out.append(self.frame(messages, BOOK if step.changes else OTHER, index))
        return out

    @override
    def overdue(self) -> str:
        is_late = self.venue.now_ns - self.opened_ns > _AUTH_NS
        return "" if self._is_in or not is_late else "auth timeout"

    @property
    @override
    def is_subscribed(self) -> bool:
        return any(self._subscribed.values())

    def wants(self, channel: str, name: str) -> bool:
        """Return whether a channel of an instrument is subscribed."""
        wanted = self._subscribed.get(channel, ())
        return name in wanted or "*" in wanted

    def book(self, index: int, changes: list[Change], *, is_anew: bool) -> dict[str, Any]:
        """Return an order book message; ``is_anew`` throws the book before it away."""
        book = self.books[index]
        rows: tuple[list[Any], list[Any]] = ([], [])
        for each in changes:
            price, qty = float(book.price_text(each.ticks)), float(book.qty_text(each.lots))
            rows[each.side].append({"p": price, "s": qty})
        message = {
            "T": "o",
            "S": self.names[index],
            "t": self.iso(),
            "b": rows[BID],
            "a": rows[ASK],
        }
        return message | ({"r": True} if is_anew else {})

    def frame(self, messages: list[dict[str, Any]], kind: str, index: int = -1) -> Sent:
        """Return one frame of the messages, in the client's encoding."""
        if not self.request.wants_msgpack:
            return Sent(dumps(messages), kind, index)
        packed = [
            each | {"t": _packed_time(self._now_ns())} if "t" in each else each for each in messages
        ]
        return Sent(msgspec.msgpack.encode(packed), kind, index, is_text=False)

    def _login(self, message: dict[str, Any]) -> Sent:
        if self._is_in:
            return self._error(403, "already authenticated")
        if message.get("key") == REFUSED_KEY or not (message.get("key") and message.get("secret")):
            return self._error(402, "auth failed")
        self._is_in = True
        return self.frame([{"T": "success", "msg": "authenticated"}], CONTROL)

    def _subscribe(self, message: dict[str, Any], *, is_more: bool) -> list[Sent]:
        wanted = {channel: names for channel, names in message.items() if channel != "action"}
        if not wanted or any(channel not in self.channels for channel in wanted):
            return [self._error(410, "invalid subscribe action for this feed")]
        first: list[Sent] = []
        for channel, names in wanted.items():
            active = self._subscribed[channel]
            fresh = [name for name in names if name not in active]
            if is_more:
                active += fresh
                first += [each for name in fresh for each in self._first(channel, name)]
            else:
                self._subscribed[channel] = [name for name in active if name not in names]
        state: dict[str, Any] = {"T": "subscription", **self._subscribed}
        if not self.is_crypto:
            state |= dict.fromkeys(("corrections", "cancelErrors"), self._subscribed["trades"])
        return [self.frame([state], CONTROL), *first]

    def _first(self, channel: str, name: str) -> list[Sent]:
        """Return what a subscription begins with: of a crypto book all of it."""
        index = self.venue.index_of(name)
        if channel != "orderbooks" or index is None or not any(self.books[index].sides):
            return []
        self.steps[index].changes = []
        sides = self.books[index].sides
        levels = [Change(side, t, q) for side in (BID, ASK) for t, q in sides[side].items()]
        return [self.frame([self.book(index, levels, is_anew=True)], SNAPSHOT, index)]

    def quote(self, index: int) -> dict[str, Any]:
        """Return the best bid and ask as a message."""
        (bid, bid_qty), (ask, ask_qty) = self.touch(index)
        numbers = {"bp": float(bid), "ap": float(ask)}
        head = {"T": "q", "S": self.names[index], **numbers}
        if self.is_crypto:
            return head | {"bs": float(bid_qty), "as": float(ask_qty), "t": self.iso()}
        sizes = {"bs": int(float(bid_qty)), "as": int(float(ask_qty))}
        return head | sizes | {"bx": "V", "ax": "V", "c": ["R"], "t": self.iso(), "z": "B"}

    def trade(self, index: int, trade: Trade) -> dict[str, Any]:
        """Return a print as a message."""
        book = self.books[index]
        qty = float(book.qty_text(trade.lots))
        head = {
            "T": "t", "S": self.names[index], "i": trade.trade_id,
            "p": float(book.price_text(trade.ticks)),
            "t": iso_ns(trade.ts_ns + self.venue.offset_ns),
        }  # fmt: skip
        if self.is_crypto:
            return head | {"s": qty, "tks": "B" if trade.aggressor > 0 else "S"}
        return head | {"s": int(qty), "x": "V", "c": ["@"], "z": "B"}

    def _error(self, code: int, message: str) -> Sent:
        return self.frame([{"T": "error", "code": code, "msg": message}], CONTROL)

    def _is_packed(self, data: bytes) -> bool:
        return self.request.wants_msgpack and not data.lstrip().startswith(b"{")

    def _now_ns(self) -> int:
        return self.venue.now_ns + self.venue.offset_ns


class AlpacaModel(VenueModel):
    """All symbols of the venue, stocks and crypto, and its asset list."""

    venue = "alpaca"
    proves_loss = False

    @override
    def session(self, request: Request) -> Session:
        return AlpacaSession(self, request)

    @override
    def answer(self, path: str, *, is_old: bool = False) -> Answer | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path.endswith(("/quotes/latest", "/trades")):
            return Answer(200, dumps(self._history(parts.path, query)))
        index = self.index_of(unquote(parts.path.removeprefix("/v2/assets/")))
        if index is None:
            return Answer(404, dumps({"code": 40410000, "message": "asset not found"}))
        return Answer(200, dumps(self._asset(index)))

    def _history(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """Return standing quotes, or the trades since a time, by symbol."""
        session = AlpacaSession(self, Request(path))
        names = [name for name in query.get("symbols", [""])[0].split(",") if name in self.names]
        indices = {name: self.names.index(name) for name in names}
        if path.endswith("/quotes/latest"):
            return {"quotes": {name: session.quote(index) for name, index in indices.items()}}
        start_ns = rfc3339_ns(query.get("start", [""])[0]) - self.offset_ns
        trades = {
            name: [
                session.trade(i, each) for each in self.books[i].trades if each.ts_ns >= start_ns
            ]
            for name, i in indices.items()
        }
        return {"trades": trades, "next_page_token": None}

    def _asset(self, index: int) -> dict[str, Any]:
        book, name = self.books[index], self.names[index]
        is_crypto = "/" in name
        asset = {
            "id": f"00000000-0000-4000-8000-{index:012d}", "symbol": name, "name": name,
            "class": "crypto" if is_crypto else "us_equity",
            "exchange": "CRYPTO" if is_crypto else "NASDAQ", "status": "active",
            "tradable": True, "marginable": False, "shortable": False, "fractionable": is_crypto,
        }  # fmt: skip
        if is_crypto:
            asset |= {
                "min_order_size": book.qty_text(1), "min_trade_increment": book.qty_text(1),
                "price_increment": book.price_text(1),
            }  # fmt: skip
        return asset


def _packed_time(ns: int) -> msgspec.msgpack.Ext:
    """Return a msgpack time of 64 bits: nanoseconds above 34 bits of seconds."""
    seconds, nanos = divmod(ns, NS_PER_S)
    return msgspec.msgpack.Ext(_TIMESTAMP, struct.pack(">Q", nanos << 34 | seconds))
