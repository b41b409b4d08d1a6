"""Alpaca's books: one quoted level a side for stocks, levels with a reset for crypto; and halts.

A quote replaces the one before, so a refused one leaves no book until the next. A halt of the
venue outlasts the connection: it ends when the venue says so, or when an ordinary print shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Raw
from typing_extensions import override

from core.clock import NS_PER_S
from core.config import Settings
from core.feeds.alpaca_login import subscribe_message
from core.feeds.alpaca_renewal import ANSWER_NS, Renewals
from core.feeds.alpaca_status import StatusMessage, Trading, trading_of, words_of
from core.feeds.alpaca_wire import Bands, OrderBook, Quote, Told, levels_text, number, pair_text
from core.feeds.connection import MALFORMED, VenueConnection
from core.feeds.states import BELIEVED
from core.kernels import block as at
from core.levels import ASK, BID, LevelReader
from core.model.instrument import Instrument
from core.model.market import FeedCause, FeedOutput, FeedState

SETTLE_NS = NS_PER_S
"""How long crypto quotes and book may differ: they are two channels, not one sequence."""

_QUOTE = msgspec.json.Decoder(Quote)
_BOOK = msgspec.json.Decoder(OrderBook)
_STATUS = msgspec.json.Decoder(StatusMessage)
_BANDS = msgspec.json.Decoder(Bands)


class AlpacaBooks(VenueConnection):
    """Quotes, order books, price bands and trading status of one connection."""

    venue = "alpaca"
    silence_is_loss = False
    """Nothing is sent while nothing happens; a dead connection shows by the socket's ping."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self.is_crypto = any("/" in one.name for one in instruments)
        # A consolidated quote is of two venues and may be locked; a crypto book is of one.
        self.crossing_is_wrong = self.is_crypto
        self._readers = [
            LevelReader(each.instrument, off_lot="floor", grid=each.book.block[at.GRID : at.CLOCK])
            for each in self.instruments
        ]
        self._quotes: list[tuple[int, int]] = [(0, 0)] * len(instruments)
        """Ticks of the bid and ask in the book, 0 for none."""
        self._quote_ns = [0] * len(instruments)
        """Venue time of each newest quote: an older one that comes by REST is history."""
        self._bands: list[tuple[int, int] | None] = [None] * len(instruments)
        """Lowest and highest ticks at which trading is allowed."""
        self._halts: list[tuple[str, int] | None] = [None] * len(instruments)
        """The venue's words and its time, while trading is stopped."""
        self._differs_since_ns: dict[int, int] = {}
        self._renewals = Renewals(len(instruments), settings.feed.refresh_after_s * NS_PER_S)
        self._note = ""
        """What this feed does not tell; shown as the reason of a live book."""

    # --- stocks

    def _take_quote(self, outputs: list[FeedOutput], told: Told) -> None:
        """Take a quote of the stream: the book of a stock, a check of the book of crypto."""
        try:
            quote = _QUOTE.decode(told.raw)
            if self.is_crypto:
                self._check_quote(outputs, told.index, quote, told.ts_recv_ns)
                return
            self._quote(outputs, told.index, quote, told.ts_event_ns, told.ts_recv_ns)
        except MALFORMED as error:
            self.counters.refused += 1
            if not self.is_crypto:
                # The quote before it is no longer the market's; the next one is.
                self._refuse_book(outputs, told.index, str(error), told.ts_recv_ns)

    def _quote(
        self, outputs: list[FeedOutput], index: int, quote: Quote, event_ns: int, recv_ns: int
    ) -> None:
        """Replace both bests; a price or a size of 0 says that there is none on that side."""
        sides = ((BID, quote.bp, quote.bs), (ASK, quote.ap, quote.ask_size))
        fresh = [self._row(index, *side) for side in sides if not number(side[1]).is_zero()]
        self._quote_ns[index] = event_ns
        if self._still_halted(outputs, index, recv_ns):
            return
        was = self._quotes[index] if self.instruments[index].state in BELIEVED else (0, 0)
        gone = [(side, ticks, 0) for side, ticks in zip((BID, ASK), was, strict=True) if ticks]
        rows = np.array([*gone, *fresh], np.int64).reshape(-1, 3)
        self.instruments[index].book.apply(rows)
        ticks_now = {side: ticks for side, ticks, lots in fresh if lots}
        self._quotes[index] = (ticks_now.get(BID, 0), ticks_now.get(ASK, 0))
        self._move(outputs, index, FeedCause.SNAPSHOT, self._live_reason(index), recv_ns)
        self._book_moved(outputs, index, event_ns, recv_ns)

    def _row(self, index: int, side: int, price: Raw, qty: Raw) -> tuple[int, int, int]:
        row = self._prints[index].read_pairs(pair_text(price, qty), side)[0]
        return side, int(row[1]), int(row[2])

    def _live_reason(self, index: int) -> str:
        """Return what a trader must know of a live book: quotes outside the price bands."""
        bands = self._bands[index]
        if bands is None:
            return self._note
        bid_ticks, ask_ticks = self._quotes[index]
        one = self.instruments[index].instrument
        if bid_ticks > bands[1]:
            return f"the best bid is above the limit-up price {one.price_text(bands[1])}"
        if 0 < ask_ticks < bands[0]:
            return f"the best ask is below the limit-down price {one.price_text(bands[0])}"
        return self._note

    def _take_bands(self, outputs: list[FeedOutput], told: Told) -> None:
        """Keep the limit-up and limit-down prices, whole ticks inside them."""
        bands, index = _BANDS.decode(told.raw), told.index
        tick_size = self.instruments[index].instrument.tick_size
        low, high = number(bands.d) / tick_size, number(bands.u) / tick_size
        # 0 says that there is no band: before the session and after it.
        self._bands[index] = (math.ceil(low), math.floor(high)) if low > 0 and high > 0 else None
        feed = self.instruments[index]
        if feed.state is FeedState.LIVE:
            reason = self._live_reason(index)
            self._move(outputs, index, FeedCause.SNAPSHOT, reason, told.ts_recv_ns)

    # --- crypto

    def _take_book(self, outputs: list[FeedOutput], told: Told) -> None:
        """Take the whole book (``r``) or absolute changes of a book that is believed."""
        if not self.is_crypto:
            # A stock has one quoted level a side, and no message of levels.
            self.counters.ignored += 1
            return
        index, recv_ns = told.index, told.ts_recv_ns
        feed, reader = self.instruments[index], self._readers[index]
        try:
            book = _BOOK.decode(told.raw)
            levels = reader.read_depth(levels_text(book.b), levels_text(book.a))
            if not book.r and feed.state not in BELIEVED:
                self.counters.ignored += 1
                return
            if book.r:
                feed.book.clear()
            feed.book.apply(levels)
        except MALFORMED as error:
            self.counters.refused += 1
            self._refuse_book(outputs, index, str(error), recv_ns)
            return
        if book.r:
            self._later.pop(index, None)
            self._differs_since_ns.pop(index, None)
            self._renewals.came_whole(index, recv_ns)
            self._move(outputs, index, FeedCause.SNAPSHOT, self._note, recv_ns)
        self._book_moved(outputs, index, told.ts_event_ns, recv_ns)

    def _book_anew(self, index: int) -> list[FeedOutput]:
        """Return what brings all of a crypto book, over the same connection."""
        name = [self.instruments[index].instrument.name]
        actions = ("unsubscribe", "subscribe")
        return [subscribe_message(("orderbooks",), name, action) for action in actions]

    @override
    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Ask for a book that has reached its age; doubt one that the venue stopped telling."""
        outputs = super().on_time(now_ns)
        if not self.is_crypto or self._is_closed:
            return outputs
        for index in self._renewals.untold(now_ns):
            feed = self.instruments[index]
            if feed.state in BELIEVED:
                reason = f"the venue has not told it for {ANSWER_NS / NS_PER_S:g} s"
                self._doubt(outputs, index, FeedCause.LAGGED, reason, now_ns)
            else:
                self._venue_said(outputs, f"no subscription to {feed.instrument.name}", now_ns)
            if feed.state is FeedState.SUSPECT:
                self._ask_anew(outputs, index, now_ns)
        live = [i for i, feed in enumerate(self.instruments) if feed.state is FeedState.LIVE]
        due = self._renewals.due(live, now_ns)
        if due is not None:
            outputs += self._book_anew(due)
        return outputs

    def _check_quote(
        self, outputs: list[FeedOutput], index: int, quote: Quote, recv_ns: int
    ) -> None:
        """Compare a crypto quote with the best of the book; doubt what differs for too long."""
        feed = self.instruments[index]
        if feed.state not in {FeedState.LIVE, FeedState.SUSPECT}:
            return
        sides = ((BID, quote.bp, quote.bs), (ASK, quote.ap, quote.ask_size))
        told = tuple(
            0 if number(p).is_zero() else self._row(index, s, p, q)[1] for s, p, q in sides
        )
        bid, _, ask, *_ = feed.book.touch()
        self.counters.checks += 1
        if told == (bid, ask):
            self._differs_since_ns.pop(index, None)
            self._relieve(outputs, index, FeedCause.CHECK_FAILED, FeedCause.CHECK_PASSED, recv_ns)
            return
        since_ns = self._differs_since_ns.setdefault(index, recv_ns)
        if recv_ns - since_ns > SETTLE_NS:
            self.counters.checks_failed += 1
            self._differs_since_ns[index] = recv_ns
            reason = f"quotes and book have differed for {(recv_ns - since_ns) / NS_PER_S:.1f} s"
            self._doubt(outputs, index, FeedCause.CHECK_FAILED, reason, recv_ns)

    # --- trading status

    def _take_status(self, outputs: list[FeedOutput], told: Told) -> None:
        """Stop or go on with the venue; its words are the reason."""
        status = _STATUS.decode(told.raw)
        trading = trading_of(status)
        if trading is Trading.STOPPED:
            self._halts[told.index] = (words_of(status), told.ts_event_ns)
            self._still_halted(outputs, told.index, told.ts_recv_ns)
        elif trading is Trading.GOES_ON:
            self._resume(outputs, told.index, words_of(status), told.ts_recv_ns)
        elif trading is None:
            self.counters.ignored += 1

    def _still_halted(self, outputs: list[FeedOutput], index: int, now_ns: int) -> bool:
        """Return whether trading is stopped, and see that the state says so."""
        halt = self._halts[index]
        if halt is not None:
            self._move(outputs, index, FeedCause.HALTED, halt[0], now_ns)
        return halt is not None

    def _resume(self, outputs: list[FeedOutput], index: int, words: str, now_ns: int) -> None:
        if self._halts[index] is None:
            return
        self._halts[index] = None
        if self.instruments[index].state is FeedState.HALTED:
            reason = f"{words}; waiting for a quote"
            self._move(outputs, index, FeedCause.RESUMED, reason, now_ns)

    def _printed(self, outputs: list[FeedOutput], index: int, event_ns: int, now_ns: int) -> None:
        """An ordinary print: trading goes on, if it was printed after the halt."""
        halt = self._halts[index]
        if halt is not None and event_ns > halt[1]:
            self._resume(outputs, index, "the venue prints trades again", now_ns)
