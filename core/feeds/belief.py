"""What a venue's books are believed on: states, doubt, relief, crossing, and asking anew.

Every change of a state goes through ``_move`` and so through the table of ``core.feeds.states``.
Three ways lead there: ``_lose`` (the book is known to be wrong), ``_doubt`` (something speaks
against it) and ``_relieve`` (it does no longer).
"""

from __future__ import annotations

from collections.abc import Sequence

from core.book import Book
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.feeds.protocol import FeedCounters, InstrumentFeed
from core.feeds.states import BELIEVED, WAITING, advance
from core.feeds.times import printable
from core.model.instrument import Instrument
from core.model.market import BookMoved, FeedCause, FeedOutput, FeedState, Reconnect


class VenueBooks:
    """The instruments of one venue with their books, and why each is believed or not."""

    crossing_is_wrong = True
    """A crossed or locked book of one venue that matches all the time is a wrong book."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        self.instruments = [InstrumentFeed(one, Book(one)) for one in instruments]
        self.counters = FeedCounters()
        self._feed_settings = settings.feed
        self._was_live = [False] * len(instruments)
        self._crossed_after_ns = settings.feed.crossed_after_ms * NS_PER_MS
        self._crossed_since_ns: dict[int, int] = {}
        """Believed books whose best prices are crossed or locked, and since when."""
        self._crossed_whole: set[int] = set()
        """Those of them that came crossed in a snapshot: asking for another one heals nothing."""
        self._asked_to_reconnect = False
        self._refusals = [0] * len(instruments)
        self._live_since_ns = [0] * len(instruments)
        self._waits_since_ns = [0] * len(instruments)
        """Since when each book that is not believed waits for its snapshot."""
        self._later: dict[int, tuple[int, list[FeedOutput]]] = {}
        """What to send of an instrument, and from when on."""

    def _ask_reconnect(self, outputs: list[FeedOutput], reason: str) -> None:
        if not self._asked_to_reconnect:
            self._asked_to_reconnect = True
            outputs.append(Reconnect(reason))

    def _ask_anew(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        """Ask for the book of an instrument again, where the venue has a way to."""

    # --- doubt

    def _lose(
        self, outputs: list[FeedOutput], index: int, cause: FeedCause, reason: str, now_ns: int
    ) -> None:
        """The book is known to be wrong or incomplete: empty it and ask for a new one."""
        self._move(outputs, index, cause, printable(reason), now_ns)
        self._ask_anew(outputs, index, now_ns)

    def _refuse_book(self, outputs: list[FeedOutput], index: int, reason: str, now_ns: int) -> None:
        """A book message could not be used: the book has lost its place."""
        text = f"a book message was refused: {reason}"
        self._lose(outputs, index, FeedCause.REFUSED, text, now_ns)

    def _doubt(
        self, outputs: list[FeedOutput], index: int, cause: FeedCause, reason: str, now_ns: int
    ) -> None:
        """Something speaks against a believed book: the first time suspect it, then lose it."""
        state = self.instruments[index].state
        if state is FeedState.SUSPECT:
            self._lose(outputs, index, cause, reason, now_ns)
        elif state in BELIEVED:
            self._move(outputs, index, cause, printable(reason), now_ns)

    def _relieve(
        self, outputs: list[FeedOutput], index: int, doubt: FeedCause, cause: FeedCause, now_ns: int
    ) -> None:
        """What made the book suspect is over; a book suspected for something else stays so."""
        feed = self.instruments[index]
        if feed.state is FeedState.SUSPECT and feed.cause is doubt:
            self._move(outputs, index, cause, "", now_ns)

    def _watch_crossed(self, outputs: list[FeedOutput], now_ns: int) -> None:
        """Doubt a book that stays crossed while frames go on, and doubt it again after as long."""
        for index, since_ns in list(self._crossed_since_ns.items()):
            feed, lasted_ns = self.instruments[index], now_ns - since_ns
            is_doubted = feed.state is FeedState.SUSPECT and feed.cause is FeedCause.CROSSED
            if is_doubted and index in self._crossed_whole:
                continue
            if lasted_ns > self._crossed_after_ns * (1 + is_doubted):
                touch = feed.book.touch()
                bid, ask = (feed.instrument.price_text(touch[n]) for n in (0, 2))
                reason = f"bid {bid} at or above ask {ask} for {lasted_ns / NS_PER_S:.1f} s"
                self._doubt(outputs, index, FeedCause.CROSSED, reason, now_ns)

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
                self._move(outputs, index, FeedCause.VENUE_SAID, reason, now_ns)

    # --- instruments

    def _believed(self) -> list[int]:
        return [i for i, feed in enumerate(self.instruments) if feed.state in BELIEVED]

    def _move(
        self, outputs: list[FeedOutput], index: int, cause: FeedCause, reason: str, now_ns: int
    ) -> None:
        """Take ``cause`` in; the table says which state follows."""
        feed = self.instruments[index]
        was = feed.state
        change = advance(feed, index, cause, reason, now_ns)
        if change is None:
            return
        outputs.append(change)
        if change.state is FeedState.LIVE and was not in BELIEVED:
            self.counters.resyncs += self._was_live[index]
            self._was_live[index] = True
            self._live_since_ns[index] = now_ns
            if feed.book.is_crossed:
                self._crossed_whole.add(index)
        if change.state not in BELIEVED:
            self._crossed_since_ns.pop(index, None)
            self._crossed_whole.discard(index)
            if change.state in WAITING and was not in WAITING:
                self._waits_since_ns[index] = now_ns
            if was in BELIEVED:
                was_live_ns = now_ns - self._live_since_ns[index]
                if was_live_ns > self._feed_settings.backoff_max_ms * NS_PER_MS:
                    self._refusals[index] = 0
        if change.cause is FeedCause.IMPOSSIBLE:
            self._ask_reconnect(outputs, change.reason)

    def _book_moved(
        self, outputs: list[FeedOutput], index: int, event_ns: int, recv_ns: int
    ) -> None:
        """The message was applied; a crossed book is counted, and doubted if it stays so."""
        feed = self.instruments[index]
        feed.last_event_ns, feed.last_recv_ns = event_ns, recv_ns
        feed.book.moved(event_ns, recv_ns, is_live=feed.state is FeedState.LIVE)
        outputs.append(BookMoved(index, event_ns, recv_ns))
        self._find_crossed(outputs, index, recv_ns)

    def _find_crossed(self, outputs: list[FeedOutput], index: int, recv_ns: int) -> None:
        feed = self.instruments[index]
        if feed.book.is_crossed:
            feed.crossed += 1
            if self.crossing_is_wrong:
                self._crossed_since_ns.setdefault(index, recv_ns)
        elif self._crossed_since_ns and self._crossed_since_ns.pop(index, 0):
            self._crossed_whole.discard(index)
            self._relieve(outputs, index, FeedCause.CROSSED, FeedCause.UNCROSSED, recv_ns)
