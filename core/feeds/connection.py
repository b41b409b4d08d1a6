"""What every venue's protocol shares: feed states, staleness, counters, trade prints.

The invariant that holds everywhere: a book that is neither LIVE nor STALE is empty, so nobody can
trade on, or draw, levels that are not believed. ``_move`` is the only place where a state changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.book import Book
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.errors import ValueRefused
from core.feeds.protocol import FeedCounters, InstrumentFeed
from core.feeds.times import printable
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import (
    BookMoved,
    FeedOutput,
    FeedState,
    FeedStateChanged,
    Reconnect,
    TradePrint,
)

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueRefused)
"""What reading a message of the world can raise; anything else is a bug of ours."""

BELIEVED = frozenset({FeedState.LIVE, FeedState.STALE})
"""States whose book holds levels."""

MAX_ANEW = 3
"""Books subscribed anew at once, by two messages each; a new connection needs fewer than more
would, and Coinbase takes 8 messages a second from an address."""
_REPEAT_NS = NS_PER_S
"""How much later a repeated trade may be stamped: not at all, but for venues' slips."""

SILENCES_TO_RECONNECT = 3
"""Stale times without a frame after which the connection is taken for dead (half-open TCP)."""


class VenueConnection:
    """One venue, one connection; each venue's protocol adds its messages and continuity rule."""

    venue = ""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        self.instruments = [InstrumentFeed(one, Book(one)) for one in instruments]
        self.counters = FeedCounters()
        self._feed_settings = settings.feed
        self._index = {one.name: index for index, one in enumerate(instruments)}
        self._prints = [LevelReader(one, capacity=8) for one in instruments]
        self._stale_after_ns = settings.feed.stale_after_ms * NS_PER_MS
        self._last_frame_ns: int | None = None
        self._was_live = [False] * len(instruments)
        self._has_stale = False
        self._is_closed = False
        """A connection has ended and no other one is open: replies on their way mean nothing."""
        self._asked_to_reconnect = False
        self._refusals = [0] * len(instruments)
        self._live_since_ns = [0] * len(instruments)
        self._waits_since_ns = [0] * len(instruments)
        """Since when each book that is not believed waits for its snapshot."""
        self._newest_trades = [(-1, 0)] * len(instruments)
        """Id and venue time of each instrument's newest trade."""
        self._later: dict[int, tuple[int, list[FeedOutput]]] = {}
        """What to send of an instrument, and from when on."""

    # --- the connection

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        """The connection is gone: empty every book and say why."""
        outputs: list[FeedOutput] = []
        self._later.clear()
        for index in range(len(self.instruments)):
            self._move(outputs, index, FeedState.CONNECTING, f"disconnected: {reason}", now_ns)
        self._last_frame_ns = None
        self._is_closed = True
        return outputs

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Mark books stale when no frame of the connection came for the stale time.

        Liveness is the connection's: a quiet instrument on a talking connection is not stale.
        What was put off until now is sent.
        """
        outputs: list[FeedOutput] = []
        due = [index for index, (due_ns, _) in self._later.items() if due_ns <= now_ns]
        messages = [each for index in due for each in self._later.pop(index)[1]]
        if len(due) > MAX_ANEW:
            self._ask_reconnect(outputs, f"{len(due)} books must be subscribed anew")
        else:
            outputs += messages
        if self._last_frame_ns is None:
            return outputs
        silent_ns = now_ns - self._last_frame_ns
        if silent_ns > self._stale_after_ns:
            for index, feed in enumerate(self.instruments):
                if feed.state is FeedState.LIVE:
                    reason = f"no frame for {self._stale_after_ns / NS_PER_S:g} s"
                    self._move(outputs, index, FeedState.STALE, reason, now_ns)
                    self._has_stale = True
        if silent_ns > SILENCES_TO_RECONNECT * self._stale_after_ns:
            self._ask_reconnect(outputs, f"no frame for {silent_ns // NS_PER_S} s")
        for index in range(len(self.instruments)):
            self._await_snapshot(outputs, index, now_ns)
        return outputs

    def _opened(self, now_ns: int, reason: str) -> list[FeedOutput]:
        outputs: list[FeedOutput] = []
        for index in range(len(self.instruments)):
            self._move(outputs, index, FeedState.BUFFERING, reason, now_ns)
        self._last_frame_ns = now_ns
        self._is_closed = False
        self._asked_to_reconnect = False
        self._waits_since_ns = [now_ns] * len(self.instruments)
        return outputs

    def _heard(self, outputs: list[FeedOutput], now_ns: int) -> None:
        """A frame was read: what is still STALE kept its continuity and is LIVE again.

        A frame that could not be read is no sign of life: a venue that sends only such is silent.
        """
        self._last_frame_ns = now_ns
        if self._has_stale:
            self._has_stale = False
            for index, feed in enumerate(self.instruments):
                if feed.state is FeedState.STALE:
                    self._move(outputs, index, FeedState.LIVE, "frames came again", now_ns)

    def _ask_reconnect(self, outputs: list[FeedOutput], reason: str) -> None:
        if not self._asked_to_reconnect:
            self._asked_to_reconnect = True
            outputs.append(Reconnect(reason))

    def _await_snapshot(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        """Ask again for a snapshot that did not come; loss at the start shows in nothing else."""
        feed = self.instruments[index]
        is_waiting = feed.state in {FeedState.BUFFERING, FeedState.RESYNCING}
        if not is_waiting or index in self._later or self._asked_to_reconnect:
            return
        if now_ns - self._waits_since_ns[index] > SILENCES_TO_RECONNECT * self._stale_after_ns:
            self._waits_since_ns[index] = now_ns
            self._ask_anew(outputs, index, now_ns)

    def _ask_anew(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        """Ask for the book of an instrument again, where the venue has a way to."""

    def _refuse_book(self, outputs: list[FeedOutput], index: int, reason: str, now_ns: int) -> None:
        """A book message could not be used: the book has lost its place."""
        text = f"a book message was refused: {printable(reason)}"
        self._move(outputs, index, FeedState.RESYNCING, text, now_ns)

    def _send_later(self, index: int, messages: list[FeedOutput], now_ns: int) -> None:
        """Send the messages after a wait that doubles with every refusal, up to the ceiling."""
        settings = self._feed_settings
        doubled = settings.backoff_first_ms * 2 ** min(self._refusals[index], 20)
        self._refusals[index] += 1
        due_ns = now_ns + min(doubled, settings.backoff_max_ms) * NS_PER_MS
        self._later.setdefault(index, (due_ns, messages))

    def _venue_said(self, outputs: list[FeedOutput], message: str, now_ns: int) -> None:
        """An error of the venue becomes the reason of every book that is not believed."""
        self.counters.refused += 1
        for index, feed in enumerate(self.instruments):
            if feed.state not in BELIEVED:
                reason = f"the venue said: {printable(message)}"
                self._move(outputs, index, feed.state, reason, now_ns)

    # --- instruments

    def _believed(self) -> list[int]:
        return [i for i, feed in enumerate(self.instruments) if feed.state in BELIEVED]

    def _move(
        self, outputs: list[FeedOutput], index: int, state: FeedState, reason: str, now_ns: int
    ) -> None:
        """Enter ``state``; the one place where a feed state changes."""
        feed = self.instruments[index]
        if state is FeedState.LIVE and feed.state not in BELIEVED:
            self.counters.resyncs += self._was_live[index]
            self._was_live[index] = True
            self._live_since_ns[index] = now_ns
        if state not in BELIEVED:
            if feed.state in BELIEVED:
                self._waits_since_ns[index] = now_ns
                was_live_ns = now_ns - self._live_since_ns[index]
                if was_live_ns > self._feed_settings.backoff_max_ms * NS_PER_MS:
                    self._refusals[index] = 0
            feed.book.clear()
        if (feed.state, feed.reason) != (state, reason):
            feed.state, feed.reason = state, reason
            outputs.append(FeedStateChanged(index, state, reason, now_ns))

    def _book_moved(
        self, outputs: list[FeedOutput], index: int, event_ns: int, recv_ns: int
    ) -> None:
        """The message was applied; a crossed book is counted and left to the risk gate."""
        feed = self.instruments[index]
        feed.crossed += feed.book.is_crossed
        feed.last_event_ns, feed.last_recv_ns = event_ns, recv_ns
        outputs.append(BookMoved(index, event_ns, recv_ns))

    def _traded(self, outputs: list[FeedOutput], trade: TradePrint) -> None:
        feed = self.instruments[trade.instrument]
        feed.trades += 1
        if trade.aggressor > 0:
            feed.buy_lots += trade.qty_lots
        elif trade.aggressor < 0:
            feed.sell_lots += trade.qty_lots
        else:
            feed.unknown_lots += trade.qty_lots
        feed.last_trade_ticks, feed.last_trade_lots = trade.price_ticks, trade.qty_lots
        feed.last_trade_aggressor = trade.aggressor
        feed.last_event_ns, feed.last_recv_ns = trade.ts_event_ns, trade.ts_recv_ns
        outputs.append(trade)

    def _is_repeat(self, index: int, first: int, event_ns: int) -> bool:
        """Return whether a trade, or an aggregate from id ``first`` on, was printed before.

        Ids rise. One that does not, with a time well after the newest trade's, is no repeat: the
        venue numbers anew (or the newest id was damaged), and no later trade would print else.
        """
        newest, newest_ns = self._newest_trades[index]
        is_anew = newest_ns > 0 and event_ns > newest_ns + _REPEAT_NS
        return first <= newest and not is_anew

    def _print(self, index: int, price: bytes, qty: bytes) -> tuple[int, int]:
        """Return (ticks, lots) of a trade from the JSON strings of price and quantity.

        Errors: ``ValueRefused`` off the grid, at price zero, or at quantity zero.
        """
        # One reader for all prices: a trade is read by the same rules as a level.
        rows = self._prints[index].read_pairs(b"".join((b"[[", price, b",", qty, b"]]")), 0)
        ticks, lots = int(rows[0, 1]), int(rows[0, 2])
        if lots == 0:
            raise ValueRefused("trade quantity was 0, allowed is above zero")
        return ticks, lots


class SocketOnly(VenueConnection):
    """A venue whose snapshots come over the socket: it asks for no HTTP."""

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:  # noqa: ARG002 (role)
        """Take a reply that nobody asked for."""
        self.counters.ignored += 1
        return []

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:  # noqa: ARG002 (role)
        """Take a failure of what nobody asked for."""
        return []
