"""Binance spot as its clients see it: combined or raw streams, REST snapshots, ``exchangeInfo``.

Update ids are versions of the book, so every client sees the same ids. Source of the wire form:
``docs/venues/binance.md``.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from typing_extensions import override

from core.clock import NS_PER_MS, NS_PER_S
from core.feeds.symbols import currencies
from core.stub.flow import Flow
from core.stub.truth import ASK, BID, Trade
from core.stub.venue import BOOK, CONTROL, OTHER, Answer, Request, Sent, Session, VenueModel, dumps

OLDEST_NS = 5 * NS_PER_S
"""Age of the oldest snapshot served on purpose."""
MAX_SERVED = 256
_DEPTH_MS = {"depth": 1000, "depth@1000ms": 1000, "depth@100ms": 100}
_EARLY_NS = 20 * NS_PER_MS
"""Flushes of a real clock come this early at most."""
_MOST_LEVELS = 5000
_NO_SYMBOL = Answer(400, dumps({"code": -1121, "msg": "Invalid symbol."}))
_TICKER_SHARE = 0.6
"""Flushes that bring a ``bookTicker`` though nothing of it changed, so that more is compared; it
may be ahead of the depth event or behind it."""
_NO_EDGE = (0, 2**62)


class BinanceSession(Session):
    """One socket; what it gets is what its address or its messages name."""

    def __init__(self, venue: VenueModel, request: Request) -> None:
        super().__init__(venue, request)
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        self._is_raw = parts.path.startswith("/ws")
        named = query.get("streams", [""])[0] or parts.path.removeprefix("/ws").strip("/")
        self._streams = dict.fromkeys(each for each in named.split("/") if "@" in each)
        self._per_unit = 1_000 if query.get("timeUnit") == ["MICROSECOND"] else NS_PER_MS
        self._told = [each.version for each in self.books]
        self._told_ns = [0] * len(self.books)
        self._told_touch: list[tuple[tuple[str, str], ...] | None] = [None] * len(self.books)

    @override
    def asked(self, data: bytes) -> list[Sent]:
        message = json.loads(data)
        names, number = message.get("params", []), message.get("id")
        match message.get("method"):
            case "SUBSCRIBE":
                fresh = {each.partition("@")[0].upper() for each in names} - self._heard()
                for index in (i for i, name in enumerate(self.names) if name in fresh):
                    self.take(index)
                    self._told[index] = self.books[index].version
                self._streams |= dict.fromkeys(names)
                result = None
            case "UNSUBSCRIBE":
                self._streams = {each: None for each in self._streams if each not in names}
                result = None
            case "LIST_SUBSCRIPTIONS":
                result = list(self._streams)
            case _:
                error = {"code": 2, "msg": "Invalid request: unknown variant"}
                return [Sent(dumps({"error": error, "id": number}), CONTROL)]
        return [Sent(dumps({"result": result, "id": number}), CONTROL)]

    @override
    def flush(self) -> list[Sent]:
        out: list[Sent] = []
        for index, name in enumerate(self.names):
            streams = [
                s.partition("@")[2] for s in self._streams if s.startswith(f"{name.lower()}@")
            ]
            out += self._trades(index, streams)
            depth = next((each for each in streams if each in _DEPTH_MS), None)
            frames = [self._depth(index, depth)] if depth and self._is_due(index, depth) else []
            if frames and "bookTicker" in streams:
                place = self._ticker_place(index)
                if place is not None:
                    frames.insert(place, self._ticker(index))
            out += frames
        return out

    @override
    def beat(self) -> list[Sent]:
        return [
            self._frame(-1, stream, self._mini(stream), OTHER)
            for stream in self._streams
            if stream.endswith("@miniTicker")
        ]

    @override
    def wants_frame(self, kind: str, index: int) -> bool:
        return kind in self._streams

    def renumbered(self) -> None:
        """The venue numbers anew: what was not told yet never will be."""
        self._told = [each.version for each in self.books]
        for index in range(len(self.books)):
            self.take(index)

    def _heard(self) -> set[str]:
        """Return the symbols of which anything is subscribed."""
        return {each.partition("@")[0].upper() for each in self._streams}

    def _is_due(self, index: int, depth: str) -> bool:
        waited_ns = self.venue.now_ns - self._told_ns[index]
        is_due = waited_ns >= _DEPTH_MS[depth] * NS_PER_MS - _EARLY_NS
        return is_due and bool(self.steps[index].changes)

    def _depth(self, index: int, stream: str) -> Sent:
        book, changes = self.books[index], self.take(index).changes
        rows: list[list[tuple[str, str]]] = [[], []]
        for (side, ticks), lots in {(c.side, c.ticks): c.lots for c in changes}.items():
            rows[side].append((book.price_text(ticks), book.qty_text(lots)))
        event = {
            "e": "depthUpdate", "E": self._stamp(self.venue.now_ns), "s": self.names[index],
            "U": self._told[index] + 1, "u": book.version, "b": rows[BID], "a": rows[ASK],
        }  # fmt: skip
        self._told[index], self._told_ns[index] = book.version, self.venue.now_ns
        return self._frame(index, f"{self.names[index].lower()}@{stream}", event, BOOK)

    def _ticker_place(self, index: int) -> int | None:
        """Return where among the frames of a flush a ticker goes, None for nowhere.

        The venue sends one whenever the best bid or ask changes, which is before the depth event.
        """
        if self._draws() < _TICKER_SHARE:
            return int(self._draws() * 2)
        return 0 if self.touch(index) != self._told_touch[index] else None

    def _ticker(self, index: int) -> Sent:
        self._told_touch[index] = self.touch(index)
        (bid, bid_qty), (ask, ask_qty) = self.touch(index)
        data = {"u": self.books[index].version, "s": self.names[index],
                "b": bid, "B": bid_qty, "a": ask, "A": ask_qty}  # fmt: skip
        return self._frame(index, f"{self.names[index].lower()}@bookTicker", data, OTHER)

    def _trades(self, index: int, streams: list[str]) -> list[Sent]:
        out: list[Sent] = []
        trades, self.steps[index].trades = self.steps[index].trades, []
        for trade in trades:
            common = self._trade(index, trade)
            if "trade" in streams:
                data = {"e": "trade", **common, "t": trade.trade_id}
                out.append(self._frame(index, f"{self.names[index].lower()}@trade", data, OTHER))
            if "aggTrade" in streams:
                ids = {"a": trade.trade_id, "f": trade.trade_id, "l": trade.trade_id}
                data = {"e": "aggTrade", **common, **ids}
                out.append(self._frame(index, f"{self.names[index].lower()}@aggTrade", data, OTHER))
        return out

    def _trade(self, index: int, trade: Trade) -> dict[str, Any]:
        book = self.books[index]
        return {
            "E": self._stamp(self.venue.now_ns), "s": self.names[index],
            "p": book.price_text(trade.ticks), "q": book.qty_text(trade.lots),
            "T": self._stamp(trade.ts_ns), "m": trade.aggressor < 0, "M": True,
        }  # fmt: skip

    def _mini(self, stream: str) -> dict[str, Any]:
        name = stream.partition("@")[0].upper()
        index = self.venue.index_of(name)
        price = "1000.00" if index is None else self.touch(index)[BID][0]
        prices = dict.fromkeys(("c", "o", "h", "l"), price)
        stamp = self._stamp(self.venue.now_ns)
        return {"e": "24hrMiniTicker", "E": stamp, "s": name, **prices, "v": "1.0", "q": "1.0"}

    def _frame(self, index: int, stream: str, data: dict[str, Any], kind: str) -> Sent:
        body = data if self._is_raw else {"stream": stream, "data": data}
        return Sent(dumps(body), kind, index)

    def _stamp(self, ns: int) -> int:
        return (ns + self.venue.offset_ns) // self._per_unit

    def _draws(self) -> float:
        return float(self.venue.generator.random())


class BinanceModel(VenueModel):
    """All symbols of the venue and its REST side."""

    venue = "binance"

    def __init__(self, flows: list[Flow], generator: np.random.Generator, now_ns: int) -> None:
        super().__init__(flows, generator, now_ns)
        self.served: list[dict[int, tuple[int, int]]] = [{} for _ in self.books]
        """By id of each snapshot served: lowest bid and highest ask up to which it was whole."""
        self._newest: dict[str, tuple[int, bytes]] = {}

    def renumber(self, by: int) -> None:
        """Number every book on from another place, as after a restart of the matching."""
        for book in self.books:
            book.renumber(max(1, book.version + by), self.now_ns)
        for session in self.sessions:
            assert isinstance(session, BinanceSession)
            session.renumbered()

    @override
    def session(self, request: Request) -> Session:
        return BinanceSession(self, request)

    @override
    def answer(self, path: str, *, is_old: bool = False) -> Answer | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        name = query.get("symbol", [""])[0]
        match parts.path:
            case "/api/v3/depth":
                index, limit = self.index_of(name), query.get("limit", ["100"])[0]
                if index is None:
                    return _NO_SYMBOL
                if not limit.isdigit() or not 0 < int(limit) <= _MOST_LEVELS:
                    return Answer(400, dumps({"code": -1100, "msg": "Illegal characters found."}))
                return Answer(200, self._depth(path, index, int(limit), is_old=is_old))
            case "/api/v3/exchangeInfo":
                names = [name] if name else list(self.names)
                if any(self.index_of(each) is None for each in names):
                    return _NO_SYMBOL
                return Answer(200, dumps({"symbols": [self._listed(each) for each in names]}))
            case "/api/v3/time":
                now_ms = (self.now_ns + self.offset_ns) // NS_PER_MS
                return Answer(200, dumps({"serverTime": now_ms}))
            case _:
                return Answer(404, b"{}")

    def _depth(self, path: str, index: int, limit: int, *, is_old: bool) -> bytes:
        taken_ns, body = self._newest.get(path, (0, b""))
        if is_old and body and self.now_ns - taken_ns <= OLDEST_NS:
            return body
        book = self.books[index]
        rows = [book.rows(side, limit) for side in (BID, ASK)]
        served = self.served[index]
        if len(served) >= MAX_SERVED:
            served.pop(next(iter(served)))
        served[book.version] = (
            sorted(book.sides[BID])[-limit] if len(book.sides[BID]) > limit else _NO_EDGE[0],
            sorted(book.sides[ASK])[limit - 1] if len(book.sides[ASK]) > limit else _NO_EDGE[1],
        )
        body = dumps({"lastUpdateId": book.version, "bids": rows[BID], "asks": rows[ASK]})
        self._newest[path] = (self.now_ns, body)
        return body

    def _listed(self, name: str) -> dict[str, Any]:
        index = self.index_of(name)
        assert index is not None
        book = self.books[index]
        base, quote = currencies("binance", name)
        return {
            "symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": book.price_text(1)},
                {"filterType": "LOT_SIZE", "stepSize": book.qty_text(1)},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
            ],
        }  # fmt: skip
