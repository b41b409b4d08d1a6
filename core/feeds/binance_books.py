"""Binance books: snapshots stitched into the stream of depth events, one chain a symbol.

What a depth event, a snapshot or a ticker means for the book of its symbol; which frame it came in
is ``core.feeds.binance``'s. Rules and their sources: ``docs/venues/binance.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from msgspec import Raw
from typing_extensions import override

from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.errors import ValueRefused
from core.feeds import binance_wire as wire
from core.feeds.binance_symbol import SymbolBook
from core.feeds.budget import Spacing
from core.feeds.connection import MALFORMED, VenueConnection
from core.feeds.states import BELIEVED
from core.feeds.stitch import DepthEvent, DepthSnapshot
from core.feeds.times import printable
from core.kernels import frames
from core.model.instrument import Instrument
from core.model.market import FeedCause, FeedOutput, FeedState, FetchHttp

_WEIGHT_NS = 10 * NS_PER_MS
"""Time that one unit of request weight is worth: 6000 a minute and address."""
_SNAPSHOT_WEIGHT = {100: 5, 500: 25, 1000: 50, 5000: 250}
_FAR_EVERY = 64
"""Events between two requests for a deeper snapshot where the market walks away from it."""
_BEATS_TO_DOUBT = 2
"""Heartbeats (seconds) without a depth event after which tickers ahead of the book are odd."""


class BinanceBooks(VenueConnection):
    """The books of one connection."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._symbols = [SymbolBook(feed.book) for feed in self.instruments]
        weight = _SNAPSHOT_WEIGHT[settings.feed.snapshot_levels]
        self._spacing = Spacing(_WEIGHT_NS * weight)

    @override
    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        """The connection is gone, and what was asked for over HTTP with it."""
        for symbol in self._symbols:
            symbol.answered(now_ns)
        self._spacing.give_back(now_ns)
        return super().on_close(reason, now_ns)

    # --- depth events

    def _depth(self, outputs: list[FeedOutput], index: int, data: Raw, recv_ns: int) -> None:
        symbol, feed = self._symbols[index], self.instruments[index]
        text = bytes(data)
        try:
            event = symbol.read_event(text)
        except MALFORMED as error:
            # Its ids may be unreadable too: the chain starts anew behind it.
            self.counters.refused += 1
            reason = f"a depth event was refused: {error}"
            self._lose(outputs, index, FeedCause.REFUSED, reason, recv_ns)
            return
        feed.last_recv_ns = recv_ns
        if symbol.beats_behind:
            symbol.beats_behind = 0
            self._relieve(outputs, index, FeedCause.LAGGED, FeedCause.CAUGHT_UP, recv_ns)
        if symbol.chain.is_impossible(event):
            self.counters.gaps += 1
            reason = f"update ids went back from {symbol.chain.last_id} to {event.last}"
            self._lose(outputs, index, FeedCause.GAP, reason, recv_ns)
            symbol.chain.add(event, text)
        elif symbol.chain.is_old(event):
            self.counters.ignored += 1
        elif symbol.chain.has_gap_before(event):
            self.counters.gaps += 1
            reason = f"update ids {symbol.chain.last_id + 1} to {event.first - 1} were lost"
            self._lose(outputs, index, FeedCause.GAP, reason, recv_ns)
            symbol.chain.add(event, text)
        else:
            symbol.chain.add(event, text)
            if feed.state in BELIEVED:
                self._follow(outputs, index, event, recv_ns)

    def _follow(
        self, outputs: list[FeedOutput], index: int, event: DepthEvent, recv_ns: int
    ) -> None:
        symbol, feed = self._symbols[index], self.instruments[index]
        try:
            feed.book.apply(event.levels)
            if symbol.chain.refresh():
                symbol.attempts = 0
        except ValueRefused as error:
            self.counters.refused += 1
            self._lose(outputs, index, FeedCause.REFUSED, str(error), recv_ns)
            return
        self._book_moved(outputs, index, event.event_ns, recv_ns)
        block = feed.book.block
        flags = frames.reach_tickers(block, event.last) | frames.reach(block)
        self._look_at(outputs, index, flags, recv_ns)

    def _look_at(self, outputs: list[FeedOutput], index: int, flags: int, recv_ns: int) -> None:
        """Act on what a frame showed: flags of ``core.kernels.frames``."""
        symbol = self._symbols[index]
        if flags & frames.CHECKED:
            self._judge(outputs, index, flags, recv_ns)
        symbol.far_events += bool(flags & frames.WALKED_FAR)
        is_far_again = flags & frames.WALKED_FAR and symbol.far_events % _FAR_EVERY == 1
        if self.instruments[index].state in BELIEVED and (
            is_far_again or flags & frames.LEFT_KNOWN
        ):
            self._ask_snapshot(outputs, index, recv_ns)

    def _judge(self, outputs: list[FeedOutput], index: int, flags: int, recv_ns: int) -> None:
        """The best levels were compared at one update id; wrong twice running, a book is lost.

        Once could be the venue's own slip, of which none was seen in 1,128 comparisons.
        """
        self.counters.checks += 1
        if not flags & frames.CHECK_FAILED:
            self._relieve(outputs, index, FeedCause.CHECK_FAILED, FeedCause.CHECK_PASSED, recv_ns)
            return
        self.counters.checks_failed += 1
        reason = "its best prices were not those of the venue"
        # Past the snapshot's depth a best price is a guess, and one comparison settles it.
        if self._symbols[index].chain.has_left_known():
            self._lose(outputs, index, FeedCause.LEFT_KNOWN, reason, recv_ns)
        else:
            self._doubt(outputs, index, FeedCause.CHECK_FAILED, reason, recv_ns)

    @override
    def _lose(
        self, outputs: list[FeedOutput], index: int, cause: FeedCause, reason: str, now_ns: int
    ) -> None:
        """This symbol lost its continuity: empty the book and ask for a new snapshot."""
        symbol, feed = self._symbols[index], self.instruments[index]
        # A book that loses its place again at once must not be asked for at once.
        was_steady = now_ns - symbol.live_since_ns > self._feed_settings.backoff_max_ms * NS_PER_MS
        if feed.state in BELIEVED and was_steady:
            symbol.attempts = 0
        symbol.forget()
        self._move(outputs, index, cause, printable(reason), now_ns)
        self._ask_snapshot(outputs, index, now_ns)

    def _count_beat_behind(self, outputs: list[FeedOutput], recv_ns: int) -> None:
        """See whether a depth stream fell silent while the rest of the connection went on.

        Counted in the venue's own seconds: a connection that paused and lost nothing brings its
        heartbeats and its depth events in the order they were sent.
        """
        for index, symbol in enumerate(self._symbols):
            if not symbol.has_tickers_ahead:
                continue
            symbol.beats_behind += 1
            reason = f"no depth event for {symbol.beats_behind} s though its tickers went on"
            if symbol.beats_behind == _BEATS_TO_DOUBT:
                self._doubt(outputs, index, FeedCause.LAGGED, reason, recv_ns)
            elif symbol.beats_behind * NS_PER_S > self._stale_after_ns:
                self._lose(outputs, index, FeedCause.LAGGED, reason, recv_ns)
                self._ask_reconnect(outputs, reason)

    # --- snapshots

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take a depth snapshot, asked for or not."""
        outputs: list[FeedOutput] = []
        index = self._snapshot_index(url)
        if index is None or self._is_closed:
            self.counters.ignored += 1
            return outputs
        symbol = self._symbols[index]
        symbol.answered(recv_ns)
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
            self._symbols[index].answered(now_ns)
            self._retry(outputs, index, f"the snapshot did not come: {reason}", now_ns)
        return outputs

    def _start(
        self, outputs: list[FeedOutput], index: int, snapshot: DepthSnapshot, recv_ns: int
    ) -> None:
        """Make the book of a snapshot and what came after it, if they meet."""
        symbol, feed = self._symbols[index], self.instruments[index]
        if not symbol.chain.meets(snapshot):
            self._retry(outputs, index, "the snapshot was older than the stream", recv_ns)
            return
        symbol.chain.build(snapshot)
        if symbol.chain.has_left_known():
            feed.book.clear()
            self._retry(outputs, index, "the market left the depth of the snapshot", recv_ns)
            return
        symbol.live_since_ns = recv_ns
        symbol.drop_tickers()
        self._move(outputs, index, FeedCause.SNAPSHOT, "", recv_ns)
        self._book_moved(outputs, index, feed.last_event_ns, recv_ns)

    def _refresh(
        self, outputs: list[FeedOutput], index: int, snapshot: DepthSnapshot, recv_ns: int
    ) -> None:
        """Take a newer snapshot into a live book: stitched, or not at all."""
        symbol, feed = self._symbols[index], self.instruments[index]
        symbol.chain.pending = snapshot
        if symbol.chain.refresh():
            symbol.attempts = 0
            self._book_moved(outputs, index, feed.last_event_ns, recv_ns)

    def _snapshot_index(self, url: str) -> int | None:
        parts = urlsplit(url)
        names = parse_qs(parts.query).get("symbol", [""])
        return self._index.get(names[0]) if parts.path.endswith("/depth") else None

    def _retry(self, outputs: list[FeedOutput], index: int, reason: str, now_ns: int) -> None:
        feed = self.instruments[index]
        if feed.state in BELIEVED or feed.state is FeedState.CONNECTING:
            return
        text = f"{printable(reason)} (snapshot {self._symbols[index].attempts + 1} asked)"
        self._move(outputs, index, FeedCause.RETRIED, text, now_ns)
        self._ask_snapshot(outputs, index, now_ns)

    def _ask_snapshot(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        symbol, settings = self._symbols[index], self._feed_settings
        if symbol.asked_ns is not None:
            return
        wait_ms = 0
        if symbol.attempts:
            doubled = settings.backoff_first_ms * 2 ** min(symbol.attempts - 1, 20)
            wait_ms = min(doubled, settings.backoff_max_ms)
        symbol.attempts += 1
        free_ns = max(now_ns + wait_ms * NS_PER_MS, symbol.budget.free_ns)
        not_before_ns = symbol.asked_ns = self._spacing.take(free_ns, now_ns)
        name = self.instruments[index].instrument.name
        query = f"symbol={name}&limit={settings.snapshot_levels}"
        outputs.append(FetchHttp(f"{settings.binance_rest}/api/v3/depth?{query}", not_before_ns))
