"""Market data values: the compact MarketState row, public trades, feed states.

Rows of ``MARKET_STATE`` are what signals, agents, tape and screen read: one per message.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np

DEPTH_LEVELS = 10
"""Levels summed into ``depth_bid_lots`` and ``depth_ask_lots``."""

MARKET_STATE = np.dtype(
    [
        ("ts_event_ns", "<i8"),  # venue's time; 0 where the venue gives none
        ("ts_recv_ns", "<i8"),  # our time
        ("instrument", "<i4"),  # index in the run's instrument list
        ("flags", "<u4"),  # FLAG_* below
        ("bid_ticks", "<i8"),  # 0 with FLAG_NO_BID
        ("ask_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_lots", "<i8"),
        ("depth_bid_lots", "<i8"),  # sum over the best DEPTH_LEVELS
        ("depth_ask_lots", "<i8"),
        ("weighted_mid_ticks", "<f8"),  # (bid*ask_qty + ask*bid_qty) / (bid_qty + ask_qty)
        ("imbalance_l1", "<f8"),  # [-1, 1]
        ("imbalance_l10", "<f8"),  # [-1, 1]
        ("order_flow_imbalance", "<f8"),  # Cont-Kukanov-Stoikov, EWMA 1 s, in mean best depths
        ("trade_pressure", "<f8"),  # [-1, 1], EWMA 5 s of signed volume over volume
        ("volatility_bps", "<f8"),  # standard deviation of 1 s mid returns, EWMA 60 s, bps
    ]
)

FLAG_NO_BID = 1
FLAG_NO_ASK = 2
FLAG_CROSSED = 4
FLAG_NOT_LIVE = 8
"""The feed state of the instrument was not ``live`` when the row was made."""


class FeedState(StrEnum):
    """Whether the book of one instrument may be believed."""

    CONNECTING = "connecting"
    BUFFERING = "buffering"
    LIVE = "live"
    STALE = "stale"
    RESYNCING = "resyncing"
    HALTED = "halted"


class BookMoved(msgspec.Struct, frozen=True, gc=False):
    """The book of an instrument changed; read it now."""

    instrument: int
    ts_event_ns: int
    ts_recv_ns: int


class TradePrint(msgspec.Struct, frozen=True, gc=False):
    """One public trade."""

    instrument: int
    price_ticks: int
    qty_lots: int
    aggressor: int
    """1 the buyer took, -1 the seller took, 0 the venue does not say."""
    trade_id: str
    ts_event_ns: int
    ts_recv_ns: int


class FeedStateChanged(msgspec.Struct, frozen=True, gc=False):
    """The feed of an instrument entered ``state``; ``reason`` is for the screen."""

    instrument: int
    state: FeedState
    reason: str
    ts_recv_ns: int


MarketEvent = BookMoved | TradePrint | FeedStateChanged


class SendText(msgspec.Struct, frozen=True, gc=False):
    """Ask the socket to send ``text``."""

    text: str


class FetchHttp(msgspec.Struct, frozen=True, gc=False):
    """Ask for ``url`` by GET no earlier than ``not_before_ns``; the body goes to ``on_http``."""

    url: str
    not_before_ns: int = 0


class Reconnect(msgspec.Struct, frozen=True, gc=False):
    """Ask for a new connection, saying why."""

    reason: str


FeedRequest = SendText | FetchHttp | Reconnect
FeedOutput = MarketEvent | FeedRequest
