"""Binance and Coinbase Advanced, and the list of all venue models."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from core.clock import NS_PER_MS, NS_PER_S
from core.feeds.protocol import FeedProtocol
from tests.faults.market import ASK, BID, Change, TrueMarket
from tests.faults.venue_base import BOOK, CONTROL, OTHER, SNAPSHOT, Sent, VenueModel, dumps
from tests.faults.venue_plain import AlpacaModel, ExchangeModel, SimModel

OLDEST_NS = 5 * NS_PER_S
"""Age of the oldest snapshot served; a book made of one alone is that old until an event comes."""


class BinanceModel(VenueModel):
    """Combined stream, REST snapshots of a bounded depth."""

    venue = "binance"
    names = ("BTCUSDT", "ETHUSDT")
    has_http = True
    n_levels = 130
    limit = 100

    def __init__(self, generator: np.random.Generator, start_ns: int) -> None:
        super().__init__(generator, start_ns)
        self._sent = [each.version for each in self.markets]
        self._cached: dict[int, tuple[int, bytes]] = {}
        self._edges: dict[int, tuple[int, int]] = {}
        self._served: list[dict[int, tuple[int, int]]] = [{} for _ in self.markets]

    def flush(self) -> list[Sent]:
        out: list[Sent] = []
        for index, market in enumerate(self.markets):
            changes, self.pending[index] = self.pending[index], []
            if not changes:
                continue
            name, at = market.instrument.name, market.version
            lots = {(side, ticks): lots for side, ticks, lots in changes}
            rows: list[list[list[str]]] = [[], []]
            for (side, ticks), each in lots.items():
                rows[side].append(market.text(ticks, each))
            event = {"e": "depthUpdate", "E": self._ms(), "s": name, "U": self._sent[index] + 1}
            event |= {"u": at, "b": rows[BID], "a": rows[ASK]}
            self._sent[index] = at
            frames = [self._frame(index, "depth@100ms", event, BOOK)]
            if self.generator.random() < 0.6:
                ticker = self._frame(index, "bookTicker", self._ticker(market), OTHER)
                frames.insert(int(self.generator.integers(0, 2)), ticker)
            if self.generator.random() < 0.2:
                frames.append(self._trade(index))
            out += frames
        return out

    def heartbeat(self) -> list[Sent]:
        data = {"e": "24hrMiniTicker", "E": self._ms(), "s": "BTCUSDT", "c": "1000.00"}
        return [Sent(dumps({"stream": "btcusdt@miniTicker", "data": data}), OTHER)]

    def fetch(self, url: str, old: bool) -> bytes:
        index = self.names.index(parse_qs(urlsplit(url).query)["symbol"][0])
        market = self.markets[index]
        taken_ns, _ = self._cached.get(index, (0, b""))
        if not old or self.now_ns - taken_ns > OLDEST_NS:
            rows = [market.rows(side, self.limit) for side in (BID, ASK)]
            low, high = (round(float(side[-1][0]) * 100) for side in rows)
            self._served[index][market.version] = (
                low if len(market.sides[BID]) > self.limit else 0,
                high if len(market.sides[ASK]) > self.limit else 2**62,
            )
            body = {"lastUpdateId": market.version, "bids": rows[BID], "asks": rows[ASK]}
            self._cached[index] = (self.now_ns, dumps(body))
        return self._cached[index][1]

    def claim(self, protocol: FeedProtocol, index: int) -> int:
        return int(protocol._symbols[index].chain.last_id)  # type: ignore[attr-defined]

    def watch(self, protocol: FeedProtocol) -> None:
        """Learn which of the snapshots served each book is made of."""
        for index, symbol in enumerate(protocol._symbols):  # type: ignore[attr-defined]
            symbol.chain.build = self._learning(index, symbol.chain.build)

    def _learning(self, index: int, build: Any) -> Any:
        def learn(book: Any, snapshot: Any) -> None:
            self._edges[index] = self._served[index].get(snapshot.last_id, (0, 2**62))
            build(book, snapshot)

        return learn

    def known(self, index: int) -> tuple[int, int]:
        return self._edges[index]

    def restart_ids(self, by: int) -> None:
        """Number every book on from another place, as after a restart of the matching."""
        for index, market in enumerate(self.markets):
            market.shift_versions(by, self.now_ns)
            self._sent[index] = market.version
            self.pending[index] = []

    def _ms(self) -> int:
        return (self.now_ns + self.offset_ns) // NS_PER_MS

    def _ticker(self, market: TrueMarket) -> dict[str, Any]:
        bid, ask = (market.rows(side, 1)[0] for side in (BID, ASK))
        return {"u": market.version, "s": market.instrument.name,
                "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}  # fmt: skip

    def _trade(self, index: int) -> Sent:
        market = self.markets[index]
        price, qty = market.rows(int(self.generator.integers(0, 2)), 1)[0]
        data = {"e": "trade", "E": self._ms(), "s": market.instrument.name, "t": self.next_trade()}
        data |= {"p": price, "q": qty, "T": self._ms(), "m": True, "M": True}
        return self._frame(index, "trade", data, OTHER)

    def _frame(self, index: int, stream: str, data: dict[str, Any], kind: str) -> Sent:
        name = self.names[index].lower()
        return Sent(dumps({"stream": f"{name}@{stream}", "data": data}), kind, index)


class CoinbaseModel(VenueModel):
    """Advanced Trade: one sequence a connection over everything that is sent."""

    venue = "coinbase"
    names = ("BTC-USD", "ETH-USD")
    flush_ms = 50
    lot = "0.00001"

    def __init__(self, generator: np.random.Generator, start_ns: int) -> None:
        super().__init__(generator, start_ns)
        self._next = 0
        self._subscribed: set[int] = set()
        self._shown = [0] * len(self.markets)
        """Version of each book as of the newest frame sent on this connection."""
        self._versions: dict[int, tuple[int, ...]] = {}

    def connected(self, now_ns: int) -> list[Sent]:
        self._next = 0
        self._subscribed.clear()
        self._versions.clear()
        return super().connected(now_ns)

    def asked(self, text: str, now_ns: int) -> list[Sent]:
        self.now_ns = now_ns
        message = json.loads(text)
        indices = [self.names.index(name) for name in message["product_ids"]]
        out = []
        if message["channel"] == "level2":
            if message["type"] == "unsubscribe":
                self._subscribed.difference_update(indices)
            else:
                out += [self._snapshot(index) for index in indices]
                self._subscribed.update(indices)
        ack = [{"subscriptions": {message["channel"]: message["product_ids"]}}]
        return [*out, self._frame("subscriptions", ack, CONTROL)]

    def flush(self) -> list[Sent]:
        out: list[Sent] = []
        for index, market in enumerate(self.markets):
            changes, self.pending[index] = self.pending[index], []
            if not changes or index not in self._subscribed:
                continue
            self._shown[index] = market.version
            out.append(self._book(index, "update", changes))
            if self.generator.random() < 0.2:
                out.append(self._trade(index))
        return out

    def heartbeat(self) -> list[Sent]:
        beat = {"current_time": "2026-08-09 21:05:48 +0000 UTC", "heartbeat_counter": self._next}
        return [self._frame("heartbeats", [beat], OTHER)]

    def claim(self, protocol: FeedProtocol, index: int) -> int:
        return self._versions[protocol._sequence][index]  # type: ignore[attr-defined]

    def _snapshot(self, index: int) -> Sent:
        market = self.markets[index]
        levels = [(side, t, q) for side in (BID, ASK) for t, q in market.sides[side].items()]
        self.pending[index] = []
        self._shown[index] = market.version
        return self._book(index, "snapshot", levels)

    def _book(self, index: int, kind: str, changes: list[Change]) -> Sent:
        market = self.markets[index]
        updates, now = [], self.iso()
        for side, ticks, lots in changes:
            price, qty = market.text(ticks, lots)
            update = {"side": "offer" if side else "bid", "event_time": now}
            updates.append({**update, "price_level": price, "new_quantity": qty if lots else "0"})
        event = {"type": kind, "product_id": self.names[index], "updates": updates}
        return self._frame("l2_data", [event], SNAPSHOT if kind == "snapshot" else BOOK, index)

    def _trade(self, index: int) -> Sent:
        price, qty = self.markets[index].rows(BID, 1)[0]
        trade = {"product_id": self.names[index], "trade_id": str(self.next_trade()),
                 "price": price, "size": qty, "side": "BUY", "time": self.iso()}  # fmt: skip
        return self._frame("market_trades", [{"type": "update", "trades": [trade]}], OTHER, index)

    def _frame(self, channel: str, events: list[Any], kind: str, index: int = -1) -> Sent:
        frame = {"channel": channel, "timestamp": self.iso(), "sequence_num": self._next}
        self._versions[self._next] = tuple(self._shown)
        self._next += 1
        return Sent(dumps({**frame, "events": events}), kind, index)


MODELS: dict[str, type[VenueModel]] = {
    each.venue: each for each in (BinanceModel, CoinbaseModel, SimModel, ExchangeModel, AlpacaModel)
}
