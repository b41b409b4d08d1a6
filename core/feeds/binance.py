"""Binance spot: frames of one combined stream.

The usual frames go to a kernel that takes them from bytes to book and features in one call
(``core.feeds.binance_quick``); whatever it does not take goes the typed way below, which is the one
that judges. Both give the same (``tests/core/feeds/test_quick.py``). Books:
``core.feeds.binance_books``.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Raw
from typing_extensions import override

from core.config import Settings
from core.errors import ValueRefused
from core.feeds import binance_wire as wire
from core.feeds.binance_books import BinanceBooks
from core.feeds.binance_quick import DEPTH, Judge, Quick
from core.feeds.connection import MALFORMED, VenueConnection
from core.feeds.states import BELIEVED
from core.feeds.times import epoch_ns
from core.kernels import frames
from core.model.instrument import Instrument
from core.model.market import FeedOutput, Renew, TradePrint

_HEARTBEAT_STREAM = "btcusdt@miniTicker"
"""Once a second whatever we watch, so that a quiet symbol can be told from a dead socket."""


class BinanceProtocol(BinanceBooks):
    """One combined stream; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "binance"
    uses_kernel = True
    """False takes every frame the typed way: the reference that tests and fuzzers compare with."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._quick = self._new_quick()

    def _new_quick(self) -> Quick:
        judge = Judge(self._find_crossed, self._look_at, self._judge)
        return Quick(self.instruments, self._symbols, judge)

    @override
    def take_over(
        self, old: VenueConnection, prints: Sequence[TradePrint], now_ns: int
    ) -> list[FeedOutput]:
        outputs = super().take_over(old, prints, now_ns)
        # It holds the feeds, which are now those of the connection that was replaced.
        self._quick = self._new_quick()
        return outputs

    def url(self) -> str:
        """Return the address of the combined stream with everything in it."""
        kinds = ("depth@100ms", "trade", "bookTicker")
        streams = [f"{name.lower()}@{kind}" for name in self._index for kind in kinds]
        return f"{self._feed_settings.binance_stream}/stream?streams=" + "/".join(
            [*streams, _HEARTBEAT_STREAM]
        )

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the books and ask for a snapshot of each symbol, spaced by request weight."""
        outputs = self._opened(now_ns, "connected, waiting for a snapshot")
        for index, symbol in enumerate(self._symbols):
            symbol.forget()
            symbol.asked_ns = None
            symbol.attempts = 0
            self._ask_snapshot(outputs, index, now_ns)
        return outputs

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame: ``{stream, data}``, a bare payload, or a control reply."""
        self.counters.frames += 1
        if self.uses_kernel and not self._has_stale and not self._crossed_since_ns:
            # With the head before it: elsewhere in a frame the same bytes mean nothing.
            take = self._quick.takes.get(data[: self._quick.size])
            if take is not None:
                taken = take(data, recv_ns)
                if taken is not None:
                    self._last_frame_ns = recv_ns
                    return taken
        return self._read(data, recv_ns)

    # --- any frame, typed

    def _read(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        outputs: list[FeedOutput] = []
        try:
            frame = wire.FRAME.decode(data)
            if frame.data is not UNSET:
                self._payload(outputs, frame.stream, frame.data, recv_ns)
            elif frame.e:
                self._bare(outputs, frame, data, recv_ns)
            else:
                self._control(outputs, frame, recv_ns)
        except MALFORMED:
            self.counters.refused += 1
        else:
            self._heard(outputs, recv_ns)
        return outputs

    def _payload(self, outputs: list[FeedOutput], stream: str, data: Raw, recv_ns: int) -> None:
        name, _, kind = stream.partition("@")
        self._event(outputs, kind, name.upper(), data, recv_ns)

    def _bare(
        self, outputs: list[FeedOutput], frame: wire.Frame, data: bytes, recv_ns: int
    ) -> None:
        """Take a payload of a raw ``/ws`` stream, which only its event type can tell apart."""
        kind = "depth" if frame.e == "depthUpdate" else frame.e
        self._event(outputs, kind, frame.s, Raw(data), recv_ns)

    def _event(
        self, outputs: list[FeedOutput], kind: str, name: str, data: Raw, recv_ns: int
    ) -> None:
        is_depth = kind in DEPTH
        if not is_depth and kind not in {"trade", "aggTrade", "bookTicker"}:
            self._unused(outputs, kind, data, recv_ns)
            return
        index = self._index.get(name)
        if index is None:
            raise ValueRefused("the frame was of an instrument that is not watched")
        if is_depth:
            self._depth(outputs, index, data, recv_ns)
        elif kind == "bookTicker":
            self._ticker(outputs, index, data, recv_ns)
        elif kind == "trade":
            self._trade(outputs, index, data, recv_ns)
        else:
            self._agg_trade(outputs, index, data, recv_ns)

    def _unused(self, outputs: list[FeedOutput], kind: str, data: Raw, recv_ns: int) -> None:
        self.counters.ignored += 1
        if kind == "miniTicker":
            self._count_beat_behind(outputs, recv_ns)
        elif kind == "serverShutdown" or (
            not kind and wire.KIND.decode(data).e == "serverShutdown"
        ):
            # Ten minutes before it ends: time for another connection to take over.
            outputs.append(Renew("the venue announced a shutdown"))

    def _control(self, outputs: list[FeedOutput], frame: wire.Frame, recv_ns: int) -> None:
        """Take a reply to a request: silence is success, an error is shown."""
        if frame.code is UNSET and frame.error is UNSET:
            self.counters.ignored += 1
            return
        text = frame.msg or bytes(frame.error or b"").decode("utf-8", "replace")
        self._venue_said(outputs, text, recv_ns)

    # --- tickers and trades

    def _ticker(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        """Compare a ticker with the book at its update id, at once or when the book is there."""
        symbol, feed = self._symbols[index], self.instruments[index]
        if feed.state not in BELIEVED:
            return
        ticker = wire.TICKER.decode(data)
        bid = b"".join((b"[[", ticker.b, b",", ticker.B, b"]]"))
        ask = b"".join((b"[[", ticker.a, b",", ticker.A, b"]]"))
        try:
            rows = symbol.reader.read_depth(bid, ask)
        except ValueRefused:
            # An empty side has price 0 here: nothing to compare with.
            self.counters.ignored += 1
            return
        flags = frames.note_ticker(feed.book.block, ticker.u, *rows[:, 1:].ravel().tolist())
        if flags:
            self._judge(outputs, index, flags, recv_ns)

    def _trade(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        symbol = self._symbols[index]
        trade = wire.TRADE.decode(data)
        symbol.has_trade_stream = True
        event_ns = epoch_ns(trade.T)
        if self._is_repeat(index, trade.t, event_ns):
            self.counters.ignored += 1
            return
        self._print_trade(outputs, index, trade, str(trade.t), recv_ns)
        self.instruments[index].book.newest_trade = (trade.t, event_ns)

    def _agg_trade(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        """Count an aggregate only where its trades do not come one by one as well."""
        symbol = self._symbols[index]
        trade = wire.AGG_TRADE.decode(data)
        event_ns = epoch_ns(trade.T)
        if symbol.has_trade_stream or self._is_repeat(index, trade.f, event_ns):
            self.counters.ignored += 1
            return
        self._print_trade(outputs, index, trade, str(trade.a), recv_ns)
        self.instruments[index].book.newest_trade = (trade.last, event_ns)

    def _print_trade(
        self,
        outputs: list[FeedOutput],
        index: int,
        trade: wire.Trade | wire.AggTrade,
        trade_id: str,
        recv_ns: int,
    ) -> None:
        if trade.s != self.instruments[index].instrument.name:
            raise ValueRefused("symbol of the trade was not its stream's")
        ticks, lots = self._print(index, trade.p, trade.q)
        aggressor = -1 if trade.m else 1
        event_ns = epoch_ns(trade.T)
        self._traded(
            outputs, TradePrint(index, ticks, lots, aggressor, trade_id, event_ns, recv_ns)
        )
