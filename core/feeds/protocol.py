"""What every venue's sans-I/O protocol looks like, and what they share.

A protocol owns the books of its instruments. Bytes and times go in, market events and requests
come out; it opens no socket and reads no clock. An unknown message is counted, never raised.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from core.book import Book
from core.model.instrument import Instrument
from core.model.market import (
    FeedCause,
    FeedOutput,
    FeedRequest,
    FeedState,
    FetchHttp,
    GiveUp,
    MarketEvent,
    Reconnect,
    Renew,
    SendText,
    TradePrint,
)

_REQUESTS = (SendText, FetchHttp, Reconnect, Renew, GiveUp)


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
    trades_lost: int = 0
    """Trades that the venue numbered and that never came."""
    heartbeats_lost: int = 0
    """Heartbeats that the venue numbered and that never came: seconds of the connection lost."""


class InstrumentFeed(msgspec.Struct):
    """What the protocol knows of one instrument; the engine and the summary read it."""

    instrument: Instrument
    book: Book
    state: FeedState = FeedState.CONNECTING
    reason: str = "not connected yet"
    cause: FeedCause | None = None
    """What the state was last changed by; None before the first change."""
    since_ns: int = 0
    """When the state was entered; 0 before the first change."""
    transitions: dict[FeedCause, int] = msgspec.field(default_factory=dict)
    """How often each cause changed the state or its reason; no longer than ``FeedCause``."""
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

    def note_trade(self, trade: TradePrint) -> None:
        """Count a trade and take it into features and bars."""
        self.count_trade(trade)
        self.book.traded(trade)

    def count_trade(self, trade: TradePrint) -> None:
        """Count a trade by its aggressor; it may become the last one."""
        self.trades += 1
        if trade.aggressor > 0:
            self.buy_lots += trade.qty_lots
        elif trade.aggressor < 0:
            self.sell_lots += trade.qty_lots
        else:
            self.unknown_lots += trade.qty_lots
        if trade.makes_last:
            self.last_trade_ticks, self.last_trade_lots = trade.price_ticks, trade.qty_lots
            self.last_trade_aggressor = trade.aggressor
        self.last_event_ns, self.last_recv_ns = trade.ts_event_ns, trade.ts_recv_ns


class FeedProtocol(Protocol):
    """One venue, one connection, any number of instruments."""

    venue: str
    instruments: list[InstrumentFeed]

    @property
    def counters(self) -> FeedCounters:
        """What is counted, as of now."""

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


def split(outputs: list[FeedOutput]) -> tuple[list[MarketEvent], list[FeedRequest]]:
    """Return what happened and what is asked for."""
    events: list[MarketEvent] = []
    requests: list[FeedRequest] = []
    for output in outputs:
        if isinstance(output, _REQUESTS):
            requests.append(output)
        else:
            events.append(output)
    return events, requests
