"""Binance spot: frames of one combined stream.

The usual frames go to a kernel that takes them from bytes to book and features in one call
(``_quick_*``); whatever it does not take goes the typed way below, which is the one that judges.
Both give the same (``tests/core/feeds/test_quick.py``). Books: ``core.feeds.binance_books``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import UNSET, Raw

from core.config import Settings
from core.errors import ValueRefused
from core.feeds import binance_wire as wire
from core.feeds.binance_books import BinanceBooks
from core.feeds.connection import MALFORMED
from core.feeds.states import BELIEVED
from core.feeds.times import epoch_ns
from core.kernels import frames
from core.kernels.update import CROSSED
from core.model.instrument import Instrument
from core.model.market import (
    DEPTH_LEVELS,
    BookMoved,
    FeedOutput,
    FeedState,
    Renew,
    TradePrint,
)

_DEPTH = frozenset({"depth", "depth@100ms", "depth@1000ms"})
"""Diff streams. ``depth20`` and its like are partial books of another shape and never mixed in."""

_HEARTBEAT_STREAM = "btcusdt@miniTicker"
"""Once a second whatever we watch, so that a quiet symbol can be told from a dead socket."""

_LIVE = FeedState.LIVE
"""Here, because a member of an enum takes 70 ns to look up: 2 % of a frame."""

_HEAD = b'{"stream":"'
_STREAM_AT = frames.STREAM_AT

_Quick = Callable[[int, bytes, int, int, int], list[FeedOutput] | None]
"""Index, frame, end of the symbol in the stream's name, end of the name, time; None: not taken."""


class BinanceProtocol(BinanceBooks):
    """One combined stream; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "binance"
    uses_kernel = True
    """False takes every frame the typed way: the reference that tests and fuzzers compare with."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._streams: dict[bytes, tuple[int, int, int, _Quick]] = {}
        for name, index in self._index.items():
            symbol = name.lower().encode()
            kinds = [(kind, self._quick_depth) for kind in _DEPTH]
            kinds += [("trade", self._quick_trade), ("bookTicker", self._quick_ticker)]
            for kind, take in kinds:
                stream = _HEAD + symbol + b"@" + kind.encode()
                self._streams[stream] = (index, _STREAM_AT + len(symbol), len(stream), take)

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
            symbol.asked = False
            symbol.attempts = 0
            self._ask_snapshot(outputs, index, now_ns)
        return outputs

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame: ``{stream, data}``, a bare payload, or a control reply."""
        self.counters.frames += 1
        if self.uses_kernel and not self._has_stale and not self._crossed_since_ns:
            # With the head before it: elsewhere in a frame the same bytes mean nothing.
            stream = self._streams.get(data[: data.find(b'"', _STREAM_AT)])
            if stream is not None:
                index, symbol_end, end, take = stream
                taken = take(index, data, symbol_end, end, recv_ns)
                if taken is not None:
                    self._last_frame_ns = recv_ns
                    return taken
        return self._read(data, recv_ns)

    # --- the usual frames, by kernel

    def _quick_depth(
        self, index: int, data: bytes, symbol_end: int, end: int, recv_ns: int
    ) -> list[FeedOutput] | None:
        feed, symbol = self.instruments[index], self._symbols[index]
        if feed.state is not _LIVE or symbol.chain.pending or symbol.beats_behind:
            return None
        book = feed.book
        flags, event_ns = frames.take_depth(
            data, book.block, book.far, symbol_end, end, recv_ns, DEPTH_LEVELS
        )
        if flags < 0:
            return None
        book.known_touch = None
        symbol.chain.keep(data)
        feed.last_event_ns = event_ns
        feed.last_recv_ns = recv_ns
        outputs: list[FeedOutput] = [BookMoved(index, event_ns, recv_ns)]
        if flags:
            if flags & CROSSED:
                self._find_crossed(outputs, index, recv_ns)
            self._look_at(outputs, index, flags, recv_ns)
        return outputs

    def _quick_ticker(
        self, index: int, data: bytes, symbol_end: int, end: int, recv_ns: int
    ) -> list[FeedOutput] | None:
        feed = self.instruments[index]
        if feed.state is not _LIVE:
            return None
        flags = frames.take_ticker(data, feed.book.block, symbol_end, end)
        if flags < 0:
            return None
        outputs: list[FeedOutput] = []
        if flags:
            self._judge(outputs, index, flags, recv_ns)
        return outputs

    def _quick_trade(
        self, index: int, data: bytes, symbol_end: int, end: int, recv_ns: int
    ) -> list[FeedOutput] | None:
        feed = self.instruments[index]
        number, ticks, lots, aggressor, event_ns = frames.take_trade(
            data, feed.book.block, symbol_end, end, recv_ns
        )
        if number < 0:
            return None
        self._symbols[index].has_trade_stream = True
        trade = TradePrint(index, ticks, lots, aggressor, str(number), event_ns, recv_ns)
        feed.count_trade(trade)
        return [trade]

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
        is_depth = kind in _DEPTH
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
