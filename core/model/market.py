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
    """Whether the book of one instrument may be believed; ``core.feeds.states`` has the table."""

    CONNECTING = "connecting"
    BUFFERING = "buffering"
    """Connected; the book waits for its first snapshot."""
    LIVE = "live"
    """The one state in which a new order may leave."""
    SUSPECT = "suspect"
    """Something speaks against the book: it is kept and drawn, and nothing new is risked on it."""
    STALE = "stale"
    RESYNCING = "resyncing"
    """The book lost its place (a gap): it is empty until a new snapshot."""
    HALTED = "halted"
    """The venue stopped trading: no book until it goes on."""


class FeedCause(StrEnum):
    """What made a feed change its state; counted per instrument, so short words for a screen."""

    OPENED = "opened"
    """The connection is up."""
    CLOSED = "closed"
    """The connection is gone."""
    SNAPSHOT = "snapshot"
    """The venue told the whole book."""
    TAKEN_OVER = "taken_over"
    """A second connection, whose book was live, took over from this one."""
    RETRIED = "retried"
    """The snapshot did not come or could not be used, and is asked for again."""
    ALIASED = "aliased"
    """Its data come under the name of another instrument that is watched as well."""
    VENUE_SAID = "venue_said"
    """An error message of the venue."""
    GAP = "gap"
    """A sequence shows that messages were lost, or numbers anew."""
    REFUSED = "refused"
    """A book message could not be used."""
    LEFT_KNOWN = "left_known"
    """The market went past the depth of the snapshot, and a ticker shows other best prices."""
    SILENT = "silent"
    """Nothing came for the stale time."""
    HEARD = "heard"
    """Messages came again and nothing was lost."""
    CHECK_FAILED = "check_failed"
    """The best prices were not those that an independent message of the venue tells."""
    CHECK_PASSED = "check_passed"
    CROSSED = "crossed"
    """The best bid stood at or above the best ask for too long."""
    UNCROSSED = "uncrossed"
    TRADES_LOST = "trades_lost"
    """Trade ids jumped: the connection loses messages, and may have lost some of the book."""
    LAGGED = "lagged"
    """The venue's other messages of the instrument went on and the book did not."""
    CAUGHT_UP = "caught_up"
    HALTED = "halted"
    """The venue says that trading stopped."""
    RESUMED = "resumed"
    """The venue says that trading goes on."""
    IMPOSSIBLE = "impossible"
    """A cause that does not fit the state: a bug of ours, refused by doubting the book."""


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
    makes_last: bool = True
    """Whether it moves the last price; a late, odd-lot or average-price print does not."""


class FeedStateChanged(msgspec.Struct, frozen=True, gc=False):
    """The feed of an instrument entered ``state``; ``reason`` is for the screen."""

    instrument: int
    state: FeedState
    cause: FeedCause
    reason: str
    ts_recv_ns: int


MarketEvent = BookMoved | TradePrint | FeedStateChanged


class SendText(msgspec.Struct, frozen=True, gc=False):
    """Ask the socket to send ``text``.

    It may name ``KEY_ID`` and ``KEY_SECRET`` of ``core.secrets``: the socket puts the keys in
    their place as it sends, so that no output, log or capture ever holds one.
    """

    text: str


class FetchHttp(msgspec.Struct, frozen=True, gc=False):
    """Ask for ``url`` by GET no earlier than ``not_before_ns``; the body goes to ``on_http``."""

    url: str
    not_before_ns: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    """Names and values; the values may name the keys, as ``SendText`` does."""


class Reconnect(msgspec.Struct, frozen=True, gc=False):
    """Ask for a new connection, saying why."""

    reason: str
    not_before_ns: int = 0
    """The next attempt waits until then, however soon the back-off would make it."""


class Renew(msgspec.Struct, frozen=True, gc=False):
    """Ask for a second connection that takes over once it is live; this one goes on meanwhile.

    Where no second one can be had, it is a ``Reconnect``.
    """

    reason: str


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """Ask the socket to stop for good: trying again cannot help. It raises ``Failed``."""

    reason: str
    """One line that says what is wrong and what to do about it."""


FeedRequest = SendText | FetchHttp | Reconnect | Renew | GiveUp
FeedOutput = MarketEvent | FeedRequest
