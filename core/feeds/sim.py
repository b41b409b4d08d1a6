"""Protocol of the simulated venue: its frames in, books and trades out.

The wire form is in ``core.sim.venue``. ``seq`` counts by instrument: a hole, or a frame that
cannot be used, makes that book wait for the next snapshot and asks for a new connection.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from core.book import Book
from core.clock import NS_PER_MS
from core.config import Settings
from core.errors import ValueRefused
from core.feeds.protocol import FeedCounters, InstrumentFeed
from core.feeds.states import BELIEVED, advance
from core.feeds.times import printable
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import (
    BookMoved,
    FeedCause,
    FeedOutput,
    FeedState,
    Reconnect,
    TradePrint,
)

_AGGRESSOR = {"buy": 1, "sell": -1}


_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_TradeId = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z-]{1,40}\Z")]


class _Frame(msgspec.Struct, gc=False):
    type: str
    seq: _Count
    ts: _Count
    instrument: str
    bids: msgspec.Raw
    asks: msgspec.Raw
    trades: list[tuple[str, str, Literal["buy", "sell"], _TradeId]]


class SimProtocol:
    """One connection to the simulated venue; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "sim"

    def __init__(self, instruments: list[Instrument], settings: Settings) -> None:
        self.instruments = [InstrumentFeed(each, Book(each)) for each in instruments]
        self.counters = FeedCounters()
        self._stale_after_ns = settings.feed.stale_after_ms * NS_PER_MS
        self._readers = [LevelReader(each) for each in instruments]
        self._index = {each.name: index for index, each in enumerate(instruments)}
        self._last_seq = [0] * len(instruments)
        self._was_live = [False] * len(instruments)
        self._decoder = msgspec.json.Decoder(_Frame)

    def url(self) -> str:
        """Return where frames come from: nowhere a socket could reach."""
        return "sim://market"

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the books; the venue sends a snapshot by itself."""
        out: list[FeedOutput] = []
        for index, feed in enumerate(self.instruments):
            feed.last_recv_ns = now_ns
            out += self._move(index, FeedCause.OPENED, "waiting for a snapshot", now_ns)
        return out

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame."""
        self.counters.frames += 1
        try:
            frame = self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Which book it belonged to is not known; its missing seq will show.
            self.counters.refused += 1
            return []
        index = self._index.get(frame.instrument)
        if index is None:
            self.counters.refused += 1
            return []
        if frame.type not in {"snapshot", "update"}:
            self.counters.ignored += 1
            return []
        is_snapshot = frame.type == "snapshot"
        if not is_snapshot and self.instruments[index].state is FeedState.BUFFERING:
            return self._lose(index, FeedCause.GAP, "an update came before the snapshot", recv_ns)
        if not is_snapshot and self.instruments[index].state not in BELIEVED:
            return []
        if not is_snapshot and frame.seq != self._last_seq[index] + 1:
            self.counters.gaps += 1
            why = f"sequence was {frame.seq} after {self._last_seq[index]}"
            return self._lose(index, FeedCause.GAP, why, recv_ns)
        return self._apply(index, frame, is_snapshot, recv_ns)

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:  # noqa: ARG002 (port)
        """Nothing is ever fetched."""
        return []

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:  # noqa: ARG002 (port)
        """Nothing is ever fetched."""
        return []

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        """No book may be believed until the next snapshot."""
        out: list[FeedOutput] = []
        for index in range(len(self.instruments)):
            out += self._move(index, FeedCause.CLOSED, reason, now_ns)
        return out

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Mark the books that have been silent for too long."""
        out: list[FeedOutput] = []
        for index, feed in enumerate(self.instruments):
            silent_ns = now_ns - feed.last_recv_ns
            if feed.state is FeedState.LIVE and silent_ns > self._stale_after_ns:
                why = f"silent for {silent_ns // NS_PER_MS} ms"
                out += self._move(index, FeedCause.SILENT, why, now_ns)
        return out

    def _apply(
        self, index: int, frame: _Frame, is_snapshot: bool, recv_ns: int
    ) -> list[FeedOutput]:
        feed = self.instruments[index]
        try:
            levels = self._readers[index].read_depth(bytes(frame.bids), bytes(frame.asks))
            trades = [self._trade(index, frame, row, recv_ns) for row in frame.trades]
            if is_snapshot:
                feed.book.clear()
            feed.book.apply(levels)
        except ValueRefused as error:
            self.counters.refused += 1
            return self._lose(index, FeedCause.REFUSED, str(error), recv_ns)
        self._last_seq[index] = frame.seq
        feed.last_recv_ns = recv_ns
        feed.last_event_ns = frame.ts
        feed.crossed += feed.book.is_crossed
        out: list[FeedOutput] = []
        if is_snapshot:
            self.counters.resyncs += self._was_live[index] and feed.state not in BELIEVED
            self._was_live[index] = True
            out += self._move(index, FeedCause.SNAPSHOT, "", recv_ns)
        elif feed.state is FeedState.STALE:
            out += self._move(index, FeedCause.HEARD, "", recv_ns)
        for trade in trades:
            feed.note_trade(trade)
            out.append(trade)
        feed.book.moved(frame.ts, recv_ns, is_live=feed.state is FeedState.LIVE)
        out.append(BookMoved(index, frame.ts, recv_ns))
        return out

    def _trade(
        self, index: int, frame: _Frame, row: tuple[str, str, str, str], recv_ns: int
    ) -> TradePrint:
        price, qty, side, trade_id = row
        instrument = self.instruments[index].instrument
        ticks, lots = instrument.ticks(price), instrument.lots(qty)
        if ticks <= 0 or lots <= 0:
            raise ValueRefused(f"trade was {price} x {qty}, allowed is above zero")
        return TradePrint(index, ticks, lots, _AGGRESSOR[side], trade_id, frame.ts, recv_ns)

    def _lose(self, index: int, cause: FeedCause, why: str, now_ns: int) -> list[FeedOutput]:
        """Stop believing a book and ask for a connection that begins with a snapshot."""
        why = printable(why)
        return [*self._move(index, cause, why, now_ns), Reconnect(why)]

    def _move(self, index: int, cause: FeedCause, reason: str, now_ns: int) -> list[FeedOutput]:
        change = advance(self.instruments[index], index, cause, reason, now_ns)
        return [] if change is None else [change]
