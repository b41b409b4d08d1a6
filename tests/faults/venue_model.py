"""Venues in plain Python: each keeps the true books, speaks its wire form, answers requests.

A model is never damaged: faults lie between it and the protocol (``tests.faults.faults``), except
where the venue itself misbehaves, which the model is told to do. The protocol under test shares
no code with this but ``Instrument``.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np

from core.clock import NS_PER_MS
from core.feeds.protocol import FeedProtocol
from tests.core.feeds.wire import instrument
from tests.faults.market import ASK, BID, Change, Sides, TrueMarket

_FIRST_VERSION = 1_000_000
CONTROL, BOOK, SNAPSHOT, OTHER = "control", "book", "snapshot", "other"


class Sent(msgspec.Struct):
    """One frame on its way."""

    data: bytes
    kind: str
    index: int = -1
    """Instrument, -1 for a frame of the connection."""


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class VenueModel:
    """What the runner needs of a venue."""

    venue = ""
    names: tuple[str, ...] = ()
    proves_loss = True
    """Whether ids on the wire let a reader see that a book frame is missing."""
    has_http = False
    flush_ms = 100
    n_levels = 40
    lot = "0.00001"

    def __init__(self, generator: np.random.Generator, start_ns: int) -> None:
        self.generator = generator
        self.now_ns = start_ns
        self.offset_ns = 0
        """Venue clock less ours."""
        self.markets = [
            TrueMarket(
                instrument(self.venue, name, lot=self.lot), generator, self.n_levels, _FIRST_VERSION
            )
            for name in self.names
        ]
        self.pending: list[list[Change]] = [[] for _ in self.markets]
        self.trade_id = 0
        self.connection = 0

    # --- what happens

    def run(self, now_ns: int) -> list[Sent]:
        """Let a flush interval pass and return what the venue sends."""
        self.now_ns = now_ns
        for index, market in enumerate(self.markets):
            # The second instrument is quiet: most intervals bring nothing.
            if index and self.generator.random() < 0.6:
                continue
            for _ in range(int(self.generator.integers(1, 5))):
                self.pending[index] += market.move(now_ns)
        return self.flush()

    def flush(self) -> list[Sent]:
        raise NotImplementedError

    def connected(self, now_ns: int) -> list[Sent]:
        """Take a new connection."""
        self.now_ns = now_ns
        self.connection += 1
        return []

    def asked(self, text: str, now_ns: int) -> list[Sent]:
        """Take a message of the client."""
        self.now_ns = now_ns
        return []

    def heartbeat(self) -> list[Sent]:
        """Return what comes once a second whatever happens."""
        return []

    def fetch(self, url: str, old: bool) -> bytes:
        raise NotImplementedError

    # --- what is true

    def claim(self, protocol: FeedProtocol, index: int) -> int:
        """Return the version the protocol says its book is at."""
        raise NotImplementedError

    def truth(self, index: int, version: int) -> Sides | None:
        return self.markets[index].history.get(version)

    def known(self, index: int) -> tuple[int, int]:
        """Return the lowest bid and highest ask up to which every level must be held."""
        return 0, 2**62

    def iso(self) -> str:
        ns = self.now_ns + self.offset_ns
        return f"{np.datetime64(ns, 'ns')}Z"

    def next_trade(self) -> int:
        self.trade_id += 1
        return self.trade_id


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
        self._cached: dict[int, bytes] = {}
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
        if not old or index not in self._cached:
            rows = [market.rows(side, self.limit) for side in (BID, ASK)]
            low, high = (round(float(side[-1][0]) * 100) for side in rows)
            self._served[index][market.version] = (
                low if len(market.sides[BID]) > self.limit else 0,
                high if len(market.sides[ASK]) > self.limit else 2**62,
            )
            body = {"lastUpdateId": market.version, "bids": rows[BID], "asks": rows[ASK]}
            self._cached[index] = dumps(body)
        return self._cached[index]

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


class SimModel(VenueModel):
    """The simulated venue's wire form: one sequence an instrument, a snapshot on connecting."""

    venue = "sim"
    names = ("SIM-USD", "SIM-EUR")
    flush_ms = 50

    def __init__(self, generator: np.random.Generator, start_ns: int) -> None:
        super().__init__(generator, start_ns)
        self._seq = [0] * len(self.markets)
        self._versions: list[dict[int, int]] = [{} for _ in self.markets]

    def connected(self, now_ns: int) -> list[Sent]:
        super().connected(now_ns)
        self.pending = [[] for _ in self.markets]
        return [self._frame(index, "snapshot", []) for index in range(len(self.markets))]

    def flush(self) -> list[Sent]:
        out = []
        for index in range(len(self.markets)):
            changes, self.pending[index] = self.pending[index], []
            if changes:
                out.append(self._frame(index, "update", changes))
        return out

    def claim(self, protocol: FeedProtocol, index: int) -> int:
        return self._versions[index][protocol._last_seq[index]]  # type: ignore[attr-defined]

    def _frame(self, index: int, kind: str, changes: list[Change]) -> Sent:
        market = self.markets[index]
        rows: list[list[list[str]]] = [[], []]
        if kind == "snapshot":
            rows = [market.rows(side, 10_000) for side in (BID, ASK)]
        for side, ticks, lots in changes:
            rows[side].append(market.text(ticks, lots))
        self._seq[index] += 1
        self._versions[index][self._seq[index]] = market.version
        trades = []
        if kind == "update" and self.generator.random() < 0.2:
            trades = [[*market.rows(BID, 1)[0], "sell", str(self.next_trade())]]
        frame = {"type": kind, "seq": self._seq[index], "ts": self.now_ns + self.offset_ns,
                 "instrument": self.names[index], "bids": rows[BID], "asks": rows[ASK],
                 "trades": trades}  # fmt: skip
        return Sent(dumps(frame), SNAPSHOT if kind == "snapshot" else BOOK, index)


class ExchangeModel(VenueModel):
    """Coinbase Exchange: no id on the book, so truth can only be what the reader was told."""

    venue = "coinbase-exchange"
    names = ("BTC-USD", "ETH-USD")
    proves_loss = False
    flush_ms = 50

    def __init__(self, generator: np.random.Generator, start_ns: int) -> None:
        super().__init__(generator, start_ns)
        self._subscribed: set[int] = set()

    def connected(self, now_ns: int) -> list[Sent]:
        self._subscribed.clear()
        return super().connected(now_ns)

    def asked(self, text: str, now_ns: int) -> list[Sent]:
        self.now_ns = now_ns
        message = json.loads(text)
        indices = [self.names.index(name) for name in message["product_ids"]]
        ack = Sent(dumps({"type": "subscriptions", "channels": []}), CONTROL)
        if message["type"] == "unsubscribe":
            self._subscribed.difference_update(indices)
            return [ack]
        out = [ack]
        for index in indices:
            self.pending[index] = []
            self._subscribed.add(index)
            rows = [self.markets[index].rows(side, 10_000) for side in (BID, ASK)]
            frame = {"type": "snapshot", "product_id": self.names[index], "time": self.iso()}
            frame |= {"bids": rows[BID], "asks": rows[ASK]}
            out.append(Sent(dumps(frame), SNAPSHOT, index))
        return out

    def flush(self) -> list[Sent]:
        out = []
        for index, market in enumerate(self.markets):
            changes, self.pending[index] = self.pending[index], []
            if not changes or index not in self._subscribed:
                continue
            rows = [["sell" if side else "buy", *market.text(t, q)] for side, t, q in changes]
            frame = {"type": "l2update", "product_id": self.names[index], "changes": rows}
            out.append(Sent(dumps({**frame, "time": self.iso()}), BOOK, index))
        return out

    def heartbeat(self) -> list[Sent]:
        beats = [
            {"type": "heartbeat", "product_id": name, "sequence": 1, "last_trade_id": 0}
            for name in self.names
        ]
        return [Sent(dumps(each), OTHER, index) for index, each in enumerate(beats)]


class AlpacaModel(VenueModel):
    """Best bid and offer only; every quote replaces the one before."""

    venue = "alpaca"
    names = ("IBM", "SPY")
    proves_loss = False
    flush_ms = 100
    lot = "1"

    def connected(self, now_ns: int) -> list[Sent]:
        super().connected(now_ns)
        return [Sent(b'[{"T":"success","msg":"connected"}]', CONTROL)]

    def flush(self) -> list[Sent]:
        out = []
        for index, market in enumerate(self.markets):
            changes, self.pending[index] = self.pending[index], []
            if not changes:
                continue
            bid, ask = market.best(BID), market.best(ASK)
            quote = (
                f'[{{"T":"q","S":"{self.names[index]}","bp":{bid / 100:.2f},'
                f'"bs":{market.sides[BID][bid]},"ap":{ask / 100:.2f},'
                f'"as":{market.sides[ASK][ask]},"t":"{self.iso()}"}}]'
            )
            out.append(Sent(quote.encode(), BOOK, index))
        return out


MODELS: dict[str, type[VenueModel]] = {
    each.venue: each for each in (BinanceModel, CoinbaseModel, SimModel, ExchangeModel, AlpacaModel)
}
