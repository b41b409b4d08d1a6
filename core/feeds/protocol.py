"""What every venue's sans-I/O protocol looks like, and what they share.

A protocol owns the books of its instruments. Bytes and times go in, market events and requests
come out; it opens no socket and reads no clock. An unknown message is counted, never raised.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from core.book import Book
from core.model.instrument import Instrument
from core.model.market import FeedOutput, FeedState


class FeedCounters(msgspec.Struct):
    """Counts for the summary, the screen and the metrics; the protocol alone writes them."""

    frames: int = 0
    refused: int = 0
    """Frames that could not be used: bad JSON, off-tick values, unknown instrument."""
    ignored: int = 0
    """Well-formed messages of a kind this program does not use."""
    gaps: int = 0
    resyncs: int = 0
    """Times a book became live again after a gap, a refusal or a reconnect."""
    checks: int = 0
    """Comparisons of the best level with an independent message of the venue."""
    checks_failed: int = 0


class InstrumentFeed(msgspec.Struct):
    """What the protocol knows of one instrument; the engine and the summary read it."""

    instrument: Instrument
    book: Book
    state: FeedState = FeedState.CONNECTING
    reason: str = "not connected yet"
    trades: int = 0
    buy_lots: int = 0
    sell_lots: int = 0
    unknown_lots: int = 0
    last_trade_ticks: int | None = None
    last_trade_lots: int = 0
    last_trade_aggressor: int = 0
    crossed: int = 0
    """Times the book was found crossed or locked after a message."""
    last_recv_ns: int = 0
    last_event_ns: int = 0


class FeedProtocol(Protocol):
    """One venue, one connection, any number of instruments."""

    venue: str
    instruments: list[InstrumentFeed]
    counters: FeedCounters

    def url(self) -> str:
        """Return the address to connect to."""

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """The connection is up: forget books, return what to send and fetch."""

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame. Books are current when the returned events are read."""

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take the body of a request that this protocol asked for."""

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        """A request failed; return when to ask again."""

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        """The connection is gone: no book may be believed."""

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Time passed: mark what has gone stale."""
