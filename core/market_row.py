"""Fills one MARKET_STATE row from a book and its features."""

from __future__ import annotations

import numpy as np

from core.features import Features
from core.feeds.protocol import InstrumentFeed
from core.kernels import features as kernel
from core.model.market import (
    FLAG_CROSSED,
    FLAG_NO_ASK,
    FLAG_NO_BID,
    FLAG_NOT_LIVE,
    FeedState,
)


def fill_row(
    row: np.ndarray,
    instrument: int,
    feed: InstrumentFeed,
    features: Features,
    ts_event_ns: int,
    ts_recv_ns: int,
) -> None:
    """Write the state of one instrument after a message into ``row``, MARKET_STATE[()]."""
    bid, bid_lots, ask, ask_lots, depth_bid, depth_ask = feed.book.touch()
    flags = 0
    if not bid:
        flags |= FLAG_NO_BID
    if not ask:
        flags |= FLAG_NO_ASK
    if feed.book.is_crossed:
        flags |= FLAG_CROSSED
    if feed.state is not FeedState.LIVE:
        flags |= FLAG_NOT_LIVE
    best = bid_lots + ask_lots
    depth = depth_bid + depth_ask
    value = features.values.item
    row[()] = (
        ts_event_ns,
        ts_recv_ns,
        instrument,
        flags,
        bid,
        ask,
        bid_lots,
        ask_lots,
        depth_bid,
        depth_ask,
        (bid * ask_lots + ask * bid_lots) / best if bid and ask else 0.0,
        (bid_lots - ask_lots) / best if best else 0.0,
        (depth_bid - depth_ask) / depth if depth else 0.0,
        value(kernel.OFI_1S) / max(value(kernel.DEPTH_MEAN), 1e-9),
        _pressure(value(kernel.BUY_5S), value(kernel.SELL_5S)),
        features.volatility_bps,
    )


def _pressure(buys: float, sells: float) -> float:
    total = buys + sells
    return (buys - sells) / total if total > 1e-9 else 0.0
