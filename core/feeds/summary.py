"""The replay summary: what the books and the tape of a feed came to, as plain text values."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.feeds.protocol import FeedProtocol, InstrumentFeed
from core.model.instrument import Instrument
from core.model.market import FeedState

LEVELS = 10

CONTRACT_WORDS = {
    FeedState.CONNECTING: "resyncing",
    FeedState.BUFFERING: "resyncing",
    FeedState.RESYNCING: "resyncing",
    FeedState.LIVE: "live",
    FeedState.SUSPECT: "stale",
    FeedState.STALE: "stale",
    FeedState.HALTED: "halted",
}
"""A book that waits for its first snapshot is as unbelievable as one that lost its place; on a
suspect book, as on a stale one, there are levels and nothing new is risked."""


def summary(protocol: FeedProtocol) -> dict[str, Any]:
    """Return the summary that ``replay --summary`` prints, ready for JSON.

    Units: prices in quote currency and quantities in base currency, plain decimal text without
    trailing zeros; volumes by aggressor side.
    """
    counters = protocol.counters
    return {
        "venue": protocol.venue,
        "frames": counters.frames,
        "refused": counters.refused,
        "gaps": counters.gaps,
        "resyncs": counters.resyncs,
        "instruments": {feed.instrument.name: _of(feed) for feed in protocol.instruments},
    }


def _of(feed: InstrumentFeed) -> dict[str, Any]:
    one = feed.instrument
    last = None
    if feed.last_trade_ticks is not None:
        last = [one.price_text(feed.last_trade_ticks), one.qty_text(feed.last_trade_lots)]
    return {
        "state": CONTRACT_WORDS[feed.state],
        "bids": _levels(one, feed.book.bids(LEVELS)),
        "asks": _levels(one, feed.book.asks(LEVELS)),
        "trades": feed.trades,
        "buy_volume": one.qty_text(feed.buy_lots),
        "sell_volume": one.qty_text(feed.sell_lots),
        "unknown_volume": one.qty_text(feed.unknown_lots),
        "last_trade": last,
        "crossed": feed.crossed,
    }


def _levels(one: Instrument, rows: np.ndarray) -> list[list[str]]:
    return [[one.price_text(ticks), one.qty_text(lots)] for ticks, lots in rows.tolist()]
