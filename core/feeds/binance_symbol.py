"""One symbol of a Binance connection: its chain of events, and what was asked for it."""

from __future__ import annotations

from core.book import Book
from core.clock import NS_PER_S
from core.errors import ValueRefused
from core.feeds import binance_wire as wire
from core.feeds.budget import Budget
from core.feeds.stitch import Chain, DepthEvent
from core.feeds.times import epoch_ns
from core.kernels import block as at
from core.levels import LevelReader

_SNAPSHOTS_MAX = 8
_SNAPSHOTS_WITHIN_NS = 10 * NS_PER_S
"""Snapshots of one symbol in any ten seconds: five of a back-off from 0.5 s (0, 0.5, 1.5, 3.5 and
7.5 s) and a few of connections that broke meanwhile, each of which begins the back-off anew."""


class SymbolBook:
    """What is kept of one symbol beside the public ``InstrumentFeed``."""

    def __init__(self, book: Book) -> None:
        grid = book.block[at.GRID : at.CLOCK]
        self.book = book
        self.reader = LevelReader(book.instrument, off_lot="floor", grid=grid)
        self.chain = Chain(book, self.read_event)
        self.beats_behind = 0
        """Heartbeats since a depth event came, while tickers were ahead of the book."""
        self.far_events = 0
        """Events with which little of the snapshot's depth was left."""
        self.asked_ns: int | None = None
        """From when on the snapshot that is asked for is fetched; None: none is asked for."""
        self.attempts = 0
        """Snapshots asked for since the book was last live for a while."""
        self.budget = Budget(_SNAPSHOTS_MAX, _SNAPSHOTS_WITHIN_NS)
        self.live_since_ns = 0
        self.has_trade_stream = False

    @property
    def has_tickers_ahead(self) -> bool:
        """True while tickers wait for the book to reach their update id."""
        return bool(self.book.block[at.N_TICKERS])

    def forget(self) -> None:
        """Begin anew: no event, no ticker."""
        self.chain.restart()
        self.drop_tickers()
        self.beats_behind = 0

    def drop_tickers(self) -> None:
        self.book.block[at.FIRST_TICKER : at.N_TICKERS + 1] = 0

    def answered(self, now_ns: int) -> None:
        """What was asked for came, failed, or will not come any more."""
        if self.asked_ns is not None and self.asked_ns <= now_ns:
            self.budget.spend(now_ns)
        self.asked_ns = None

    def read_event(self, text: bytes) -> DepthEvent:
        """Read a depth event from a whole frame or a bare payload. Errors: ``MALFORMED``."""
        read = wire.DEPTH_EVENT.decode(wire.payload_of(text))
        if read.s != self.book.instrument.name or not 0 <= read.U <= read.u:
            raise ValueRefused("symbol or update ids of the event do not fit")
        levels = self.reader.read_depth(read.b, read.a)
        return DepthEvent(read.U, read.u, levels, epoch_ns(read.E))
