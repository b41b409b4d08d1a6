"""How each venue's channels prove that nothing was lost, and what is done where something was.

Data for people and for the page ``docs/venues/continuity.md``; the protocols do what it says, and
tests hold both to it. A venue's sequence must never be read by another channel's rule: a
heartbeat's ``sequence`` taken for +1, or a book without one given number 1, reconnects for ever
(coinbase-pro-trading-toolkit issue 39, coinbase-pro-node issue 227).
"""

from __future__ import annotations

import msgspec

from core.config import FeedSettings
from core.model.instrument import Instrument
from core.model.market import FeedCause


class ContinuityPolicy(msgspec.Struct, frozen=True):
    """One channel of one venue."""

    venue: str
    channel: str
    proof: str
    """What shows that nothing is missing; what checks it where nothing can show it."""
    causes: tuple[FeedCause, ...]
    """What its failures are counted as."""
    taints: str
    """What may not be believed after a gap."""
    repair: str


_SAME_SOCKET = "unsubscribe and subscribe of that product, later each time"
_C = FeedCause

POLICIES: tuple[ContinuityPolicy, ...] = (
    ContinuityPolicy(
        "binance", "depth", "U of an event is u of the one before + 1, per symbol", (_C.GAP,),
        "the book of that symbol",
        "a new snapshot over REST, stitched behind the running stream; queued by request weight",
    ),
    ContinuityPolicy(
        "binance", "bookTicker", "checks depth: same best prices and quantities at the same id",
        (_C.CHECK_FAILED, _C.LEFT_KNOWN, _C.LAGGED), "the book of that symbol",
        "suspect at the first failure, a new snapshot at the second; a new connection where the "
        "depth stream alone is silent",
    ),
    ContinuityPolicy(
        "binance", "trade, aggTrade", "ids rise; a repeated one is not printed again", (),
        "nothing: a trade stands alone", "none",
    ),
    ContinuityPolicy(
        "coinbase", "all", "sequence_num + 1, per connection over all channels and products",
        (_C.GAP,), "every book of the connection", "a new connection",
    ),
    ContinuityPolicy(
        "coinbase", "heartbeats", "heartbeat_counter + 1; a jump is counted, not acted on", (),
        "nothing that sequence_num does not show", "none",
    ),
    ContinuityPolicy(
        "coinbase-exchange", "level2_batch",
        "nothing: no sequence; checked against ticker, matches and the crossing of its own bests",
        (_C.CROSSED, _C.LAGGED), "the book of that product",
        f"{_SAME_SOCKET}; and all books anew every `[feed] refresh_after_s`, by a new connection",
    ),
    ContinuityPolicy(
        "coinbase-exchange", "ticker",
        "checks level2: best prices within what the book showed half a second around it",
        (_C.CHECK_FAILED,), "the book of that product",
        f"suspect after two failures in a row; at the next one {_SAME_SOCKET}",
    ),
    ContinuityPolicy(
        "coinbase-exchange", "matches", "trade_id + 1, per product", (_C.TRADES_LOST,),
        "the book of that product: the connection loses messages",
        f"suspect, then {_SAME_SOCKET}, all channels",
    ),
    ContinuityPolicy(
        "coinbase-exchange", "heartbeat",
        "checks matches by last_trade_id, at the next heartbeat; one a second shows that the "
        "product is there. Its sequence is not + 1",
        (_C.TRADES_LOST, _C.SILENT), "the book of that product",
        f"{_SAME_SOCKET}, all channels",
    ),
    ContinuityPolicy(
        "alpaca", "quotes (stocks)", "nothing: each quote replaces the one before", (_C.REFUSED,),
        "the quote", "the next quote, or the standing one over REST",
    ),
    ContinuityPolicy(
        "alpaca", "orderbooks (crypto)",
        "nothing: trusted from a message with r true on; checked by the crossing of its own bests "
        "and by the list of what is subscribed",
        (_C.CROSSED, _C.LAGGED), "the book of that symbol",
        f"{_SAME_SOCKET}; and each book anew every `[feed] refresh_after_s`, the same way",
    ),
    ContinuityPolicy(
        "alpaca", "quotes (crypto)", "checks orderbooks: same best prices within a settling time",
        (_C.CHECK_FAILED,), "the book of that symbol",
        f"suspect at the first failure, at the second {_SAME_SOCKET}",
    ),
    ContinuityPolicy(
        "alpaca", "trades", "nothing: ids are per venue and tape; a repeat is not printed again",
        (), "nothing: a trade stands alone",
        "the prints of the time without a connection over REST, counted once",
    ),
    ContinuityPolicy(
        "alpaca", "statuses", "nothing: the newest one holds", (_C.HALTED, _C.RESUMED),
        "nothing: while halted there is no book", "the next quote after the resumption",
    ),
    ContinuityPolicy(
        "sim", "frames", "seq + 1, per instrument", (_C.GAP,), "the book of that instrument",
        "a new connection, which begins with a snapshot",
    ),
)  # fmt: skip


def unseen_s(instrument: Instrument, settings: FeedSettings) -> int | None:
    """Return how many seconds a lost message of an instrument's book can stay unseen.

    None where the venue numbers its book messages, or where each replaces the one before. Without
    numbers a best price is contradicted soon; a level behind it lasts until the book is made anew.
    """
    is_crypto = instrument.venue == "alpaca" and "/" in instrument.name
    is_unnumbered = instrument.venue == "coinbase-exchange" or is_crypto
    return settings.refresh_after_s if is_unnumbered else None
