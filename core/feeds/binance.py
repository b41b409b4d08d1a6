"""Binance spot: combined stream, REST snapshots stitched into the stream, one chain a symbol.

Continuity is per symbol: an event's first id follows the last id before it. A gap costs that
symbol alone its book until a new snapshot is stitched (``core.feeds.stitch``). Rules and their
sources: ``docs/venues/binance.md``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from msgspec import UNSET, Raw

from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.errors import ValueRefused
from core.feeds import binance_wire as wire
from core.feeds.connection import BELIEVED, MALFORMED, VenueConnection
from core.feeds.stitch import Chain, DepthEvent, DepthSnapshot
from core.feeds.times import epoch_ns, printable
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import FeedOutput, FeedState, FetchHttp, TradePrint

_DEPTH = frozenset({"depth", "depth@100ms", "depth@1000ms"})
"""Diff streams. ``depth20`` and its like are partial books of another shape and never mixed in."""

_WEIGHT_NS = 10 * NS_PER_MS
"""Time that one unit of request weight is worth: 6000 a minute and address."""
_SNAPSHOT_WEIGHT = {100: 5, 500: 25, 1000: 50, 5000: 250}
_HEARTBEAT_STREAM = "btcusdt@miniTicker"
"""Once a second whatever we watch, so that a quiet symbol can be told from a dead socket."""
MAX_TICKERS = 256
_FAR_CHECK_EVERY = 64
_FAILED_CHECKS = 2
"""Comparisons in a row: one could be the venue's own slip, of which none was seen in 1,128."""


class _Symbol:
    """What the protocol keeps of one symbol beside the public ``InstrumentFeed``."""

    def __init__(self, instrument: Instrument) -> None:
        self.reader = LevelReader(instrument, off_lot="floor")
        self.chain = Chain()
        self.tickers: deque[wire.Ticker] = deque(maxlen=MAX_TICKERS)
        """Tickers that are ahead of the book, oldest first."""
        self.beats_behind = 0
        """Heartbeats since a depth event came, while tickers were ahead of the book."""
        self.failed_checks = 0
        """Comparisons with a ticker that failed since the last one that did not."""
        self.asked = False
        self.attempts = 0
        """Snapshots asked for since the book was last live for a while."""
        self.live_since_ns = 0
        self.has_trade_stream = False


class BinanceProtocol(VenueConnection):
    """One combined stream; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "binance"

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._symbols = [_Symbol(one) for one in instruments]
        self._next_fetch_ns = 0

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
            symbol.chain.restart()
            symbol.tickers.clear()
            symbol.beats_behind = symbol.failed_checks = 0
            symbol.asked = False
            symbol.attempts = 0
            self._ask_snapshot(outputs, index, now_ns)
        return outputs

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame: ``{stream, data}``, a bare payload, or a control reply."""
        outputs: list[FeedOutput] = []
        self.counters.frames += 1
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

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take a depth snapshot, asked for or not."""
        outputs: list[FeedOutput] = []
        index = self._snapshot_index(url)
        if index is None or self._is_closed:
            self.counters.ignored += 1
            return outputs
        symbol = self._symbols[index]
        symbol.asked = False
        try:
            reply = wire.SNAPSHOT.decode(body)
            levels = symbol.reader.read_depth(reply.bids, reply.asks).copy()
            snapshot = DepthSnapshot(
                reply.last_update_id, levels, self._feed_settings.snapshot_levels
            )
            if self.instruments[index].state in BELIEVED:
                self._refresh(outputs, index, snapshot, recv_ns)
            else:
                self._start(outputs, index, snapshot, recv_ns)
        except MALFORMED as error:
            self.counters.refused += 1
            self._retry(outputs, index, f"the snapshot was refused: {error}", recv_ns)
        return outputs

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        """Ask again later, each time later up to the ceiling."""
        outputs: list[FeedOutput] = []
        index = self._snapshot_index(url)
        if index is not None:
            self._symbols[index].asked = False
            self._retry(outputs, index, f"the snapshot did not come: {reason}", now_ns)
        return outputs

    # --- frames

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
            self._beat(outputs, recv_ns)
        elif kind == "serverShutdown" or (
            not kind and wire.KIND.decode(data).e == "serverShutdown"
        ):
            self._ask_reconnect(outputs, "the venue announced a shutdown")

    def _beat(self, outputs: list[FeedOutput], recv_ns: int) -> None:
        """See whether a depth stream fell silent while the rest of the connection went on.

        Counted in the venue's own seconds: a connection that paused and lost nothing brings its
        heartbeats and its depth events in the order they were sent.
        """
        for index, symbol in enumerate(self._symbols):
            symbol.beats_behind += bool(symbol.tickers)
            if symbol.beats_behind * NS_PER_S > self._stale_after_ns:
                reason = f"no depth event for {symbol.beats_behind} s though its tickers went on"
                self._lose(outputs, index, reason, recv_ns)
                self._ask_reconnect(outputs, reason)

    def _control(self, outputs: list[FeedOutput], frame: wire.Frame, recv_ns: int) -> None:
        """Take a reply to a request: silence is success, an error is shown."""
        if frame.code is UNSET and frame.error is UNSET:
            self.counters.ignored += 1
            return
        text = frame.msg or bytes(frame.error or b"").decode("utf-8", "replace")
        self._venue_said(outputs, text, recv_ns)

    # --- the book

    def _depth(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        symbol, feed = self._symbols[index], self.instruments[index]
        try:
            read = wire.DEPTH_EVENT.decode(data)
            if read.s != feed.instrument.name or not 0 <= read.U <= read.u:
                raise ValueRefused("symbol or update ids of the event do not fit")
            levels = symbol.reader.read_depth(read.b, read.a).copy()
        except MALFORMED as error:
            # Its ids may be unreadable too: the chain starts anew behind it.
            self.counters.refused += 1
            self._lose(outputs, index, f"a depth event was refused: {error}", recv_ns)
            return
        event = DepthEvent(read.U, read.u, levels, epoch_ns(read.E))
        feed.last_recv_ns = recv_ns
        symbol.beats_behind = 0
        if symbol.chain.is_impossible(event):
            self.counters.gaps += 1
            reason = f"update ids went back from {symbol.chain.last_id} to {event.last}"
            self._lose(outputs, index, reason, recv_ns)
            symbol.chain.add(event)
        elif symbol.chain.is_old(event):
            self.counters.ignored += 1
        elif symbol.chain.has_gap_before(event):
            self.counters.gaps += 1
            reason = f"update ids {symbol.chain.last_id + 1} to {event.first - 1} were lost"
            self._lose(outputs, index, reason, recv_ns)
            symbol.chain.add(event)
        else:
            symbol.chain.add(event)
            if feed.state in BELIEVED:
                self._follow(outputs, index, event, recv_ns)

    def _follow(
        self, outputs: list[FeedOutput], index: int, event: DepthEvent, recv_ns: int
    ) -> None:
        symbol, feed = self._symbols[index], self.instruments[index]
        try:
            feed.book.apply(event.levels)
            if symbol.chain.refresh(feed.book):
                symbol.attempts = 0
        except ValueRefused as error:
            self.counters.refused += 1
            self._lose(outputs, index, str(error), recv_ns)
            return
        self._book_moved(outputs, index, event.event_ns, recv_ns)
        tickers = symbol.tickers
        while tickers and tickers[0].u < event.last:
            tickers.popleft()
        if tickers and tickers[0].u == event.last:
            self._check(outputs, index, tickers.popleft(), recv_ns)
        is_far = symbol.chain.has_left_known(feed.book) or (
            symbol.chain.n_added % _FAR_CHECK_EVERY == 0 and symbol.chain.has_walked_far(feed.book)
        )
        if is_far and feed.state in BELIEVED:
            self._ask_snapshot(outputs, index, recv_ns)

    def _start(
        self, outputs: list[FeedOutput], index: int, snapshot: DepthSnapshot, recv_ns: int
    ) -> None:
        """Make the book of a snapshot and what came after it, if they meet."""
        symbol, feed = self._symbols[index], self.instruments[index]
        if not symbol.chain.meets(snapshot):
            self._retry(outputs, index, "the snapshot was older than the stream", recv_ns)
            return
        symbol.chain.build(feed.book, snapshot)
        if symbol.chain.has_left_known(feed.book):
            feed.book.clear()
            self._retry(outputs, index, "the market left the depth of the snapshot", recv_ns)
            return
        symbol.live_since_ns = recv_ns
        symbol.tickers.clear()
        self._move(outputs, index, FeedState.LIVE, "", recv_ns)
        self._book_moved(outputs, index, feed.last_event_ns, recv_ns)

    def _refresh(
        self, outputs: list[FeedOutput], index: int, snapshot: DepthSnapshot, recv_ns: int
    ) -> None:
        """Take a newer snapshot into a live book: stitched, or not at all."""
        symbol, feed = self._symbols[index], self.instruments[index]
        symbol.chain.pending = snapshot
        if symbol.chain.refresh(feed.book):
            symbol.attempts = 0
            self._book_moved(outputs, index, feed.last_event_ns, recv_ns)

    def _lose(self, outputs: list[FeedOutput], index: int, reason: str, now_ns: int) -> None:
        """This symbol lost its continuity: empty the book and ask for a new snapshot."""
        symbol, feed = self._symbols[index], self.instruments[index]
        # A book that loses its place again at once must not be asked for at once.
        was_steady = now_ns - symbol.live_since_ns > self._feed_settings.backoff_max_ms * NS_PER_MS
        if feed.state in BELIEVED and was_steady:
            symbol.attempts = 0
        symbol.chain.restart()
        symbol.tickers.clear()
        symbol.beats_behind = symbol.failed_checks = 0
        self._move(outputs, index, FeedState.RESYNCING, printable(reason), now_ns)
        self._ask_snapshot(outputs, index, now_ns)

    # --- snapshots

    def _snapshot_index(self, url: str) -> int | None:
        parts = urlsplit(url)
        names = parse_qs(parts.query).get("symbol", [""])
        return self._index.get(names[0]) if parts.path.endswith("/depth") else None

    def _retry(self, outputs: list[FeedOutput], index: int, reason: str, now_ns: int) -> None:
        feed = self.instruments[index]
        if feed.state in BELIEVED or feed.state is FeedState.CONNECTING:
            return
        text = f"{printable(reason)} (snapshot {self._symbols[index].attempts + 1} asked)"
        self._move(outputs, index, feed.state, text, now_ns)
        self._ask_snapshot(outputs, index, now_ns)

    def _ask_snapshot(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        symbol, settings = self._symbols[index], self._feed_settings
        if symbol.asked:
            return
        wait_ms = 0
        if symbol.attempts:
            doubled = settings.backoff_first_ms * 2 ** min(symbol.attempts - 1, 20)
            wait_ms = min(doubled, settings.backoff_max_ms)
        symbol.attempts += 1
        symbol.asked = True
        not_before_ns = max(now_ns + wait_ms * NS_PER_MS, self._next_fetch_ns)
        self._next_fetch_ns = (
            not_before_ns + _WEIGHT_NS * _SNAPSHOT_WEIGHT[settings.snapshot_levels]
        )
        name = self.instruments[index].instrument.name
        query = f"symbol={name}&limit={settings.snapshot_levels}"
        outputs.append(FetchHttp(f"{settings.binance_rest}/api/v3/depth?{query}", not_before_ns))

    # --- tickers and trades

    def _ticker(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        """Keep a ticker until the book is at its update id, and compare there."""
        symbol, feed = self._symbols[index], self.instruments[index]
        if feed.state not in BELIEVED:
            return
        ticker = wire.TICKER.decode(data)
        if ticker.u == symbol.chain.last_id:
            self._check(outputs, index, ticker, recv_ns)
        elif ticker.u > symbol.chain.last_id:
            symbol.tickers.append(ticker)

    def _check(
        self, outputs: list[FeedOutput], index: int, ticker: wire.Ticker, recv_ns: int
    ) -> None:
        """Compare the best levels at one update id; a book found wrong twice running is wrong."""
        symbol, feed = self._symbols[index], self.instruments[index]
        bid = b"".join((b"[[", ticker.b, b",", ticker.B, b"]]"))
        ask = b"".join((b"[[", ticker.a, b",", ticker.A, b"]]"))
        try:
            rows = symbol.reader.read_depth(bid, ask)
        except ValueRefused:
            # An empty side has price 0 here: nothing to compare with.
            self.counters.ignored += 1
            return
        touch = feed.book.touch()
        self.counters.checks += 1
        if touch[:4] == (*rows[0, 1:].tolist(), *rows[1, 1:].tolist()):
            symbol.failed_checks = 0
            return
        self.counters.checks_failed += 1
        symbol.failed_checks += 1
        # Past the snapshot's depth a best price is a guess, and one comparison settles it.
        if symbol.failed_checks == _FAILED_CHECKS or symbol.chain.has_left_known(feed.book):
            self._lose(outputs, index, "its best prices were not those of the venue", recv_ns)

    def _trade(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        symbol = self._symbols[index]
        trade = wire.TRADE.decode(data)
        symbol.has_trade_stream = True
        if self._is_repeat(index, trade.t, epoch_ns(trade.T)):
            self.counters.ignored += 1
            return
        self._print_trade(outputs, index, trade, str(trade.t), recv_ns)
        self._newest_trades[index] = (trade.t, epoch_ns(trade.T))

    def _agg_trade(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        """Count an aggregate only where its trades do not come one by one as well."""
        symbol = self._symbols[index]
        trade = wire.AGG_TRADE.decode(data)
        if symbol.has_trade_stream or self._is_repeat(index, trade.f, epoch_ns(trade.T)):
            self.counters.ignored += 1
            return
        self._print_trade(outputs, index, trade, str(trade.a), recv_ns)
        self._newest_trades[index] = (trade.last, epoch_ns(trade.T))

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
