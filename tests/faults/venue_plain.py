"""The venues of one rule each: the simulated one, Coinbase Exchange, Alpaca."""

from __future__ import annotations

import json

import numpy as np

from core.feeds.protocol import FeedProtocol
from tests.faults.market import ASK, BID, Change
from tests.faults.venue_base import BOOK, CONTROL, OTHER, SNAPSHOT, Sent, VenueModel, dumps


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
