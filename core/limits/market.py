"""Controls of the market: a book that can be believed, a price that makes sense, a venue open."""

from __future__ import annotations

from core.limits.hours import hours_of
from core.limits.view import UNKNOWN, Case, Control
from core.model.market import FeedState
from core.model.order import Side

Found = tuple[str, str, bool]


def _feed_state(case: Case) -> Found:
    return case.view.feed_state.value, "live", case.view.feed_state is FeedState.LIVE


def _book_sides(case: Case) -> Found:
    missing = [case.view.bid_ticks, case.view.ask_ticks].count(None)
    return ("two-sided", "one-sided", "empty")[missing], "two-sided", not missing


def _book_crossed(case: Case) -> Found | None:
    if case.view.bid_ticks is None or case.view.ask_ticks is None:
        return None
    is_open = case.view.bid_ticks < case.view.ask_ticks
    return "open" if is_open else "crossed", "open", is_open


def _price_collar(case: Case) -> Found | None:
    bid, ask = case.view.bid_ticks, case.view.ask_ticks
    if bid is None or ask is None:
        return None
    # An exit takes what the other side shows, however wide the spread: it must be possible.
    exit_ticks = bid if case.order.side is Side.SELL else ask
    reference2 = 2 * exit_ticks if case.order.reduces else bid + ask
    away_bps = abs(2 * case.order.limit_ticks - reference2) * 10_000 / reference2
    collar = case.limits.price_collar_bps
    return f"{away_bps:.3f}", f"{collar:g}", case.order.limit_ticks > 0 and away_bps <= collar


def _last_trade_collar(case: Case) -> Found:
    last, collar = case.view.last_trade_ticks, case.limits.last_trade_collar_bps
    if last is None:
        # Some feeds tell no trades at all; the collar around the mid holds all the same.
        return "no trade told yet", f"{collar:g}", True
    away_bps = abs(case.order.limit_ticks - last) * 10_000 / last
    return f"{away_bps:.3f}", f"{collar:g}", away_bps <= collar


def _max_spread(case: Case) -> Found | None:
    bid, ask = case.view.bid_ticks, case.view.ask_ticks
    if bid is None or ask is None:
        return None
    spread_bps, widest = (ask - bid) * 20_000 / (bid + ask), case.limits.max_spread_bps
    return f"{spread_bps:.3f}", f"{widest:g}", spread_bps <= widest


def _clock_offset(case: Case) -> Found:
    offset, limits = case.view.clock_offset_ms, case.limits
    ahead, behind = limits.max_clock_ahead_ms, limits.max_clock_behind_ms
    allowed = f"{-behind} to {ahead}"
    if offset is None:
        return UNKNOWN, allowed, False
    return f"{offset:.1f}", allowed, -behind <= offset <= ahead


def _trading_hours(case: Case) -> Found:
    return hours_of(case.view.instrument, case.view.now_ns, case.limits)


def _instruments(case: Case) -> Found:
    one = case.view.instrument
    spellings = {"*", one.name, f"{one.venue}:*", f"{one.venue}:{one.name}"}
    listed = ", ".join(case.limits.instruments) or "none"
    return f"{one.venue}:{one.name}", listed, not spellings.isdisjoint(case.limits.instruments)


BOOK = (
    Control("feed_state", "the instrument's feed is not live: connecting, suspect, stale, gapped "
            "or halted", _feed_state, of_exits=True),
    Control("book_sides", "a side of the book is empty", _book_sides, of_exits=True),
    Control("book_crossed", "the best bid is not below the best ask", _book_crossed,
            of_exits=True),
    Control("price_collar_bps", "the limit price is too far from the mid; for an exit, from what "
            "the other side shows", _price_collar, of_exits=True),
)  # fmt: skip
MARKET = (
    Control("last_trade_collar_bps", "the limit price is too far from the last public trade",
            _last_trade_collar),
    Control("max_spread_bps", "the spread is too wide", _max_spread),
    Control("clock_offset_ms", "our clock and the venue's are too far apart, or were not compared "
            "yet", _clock_offset),
    Control("trading_hours", "it is a stock and its session is not open, or the calendar does not "
            "say", _trading_hours),
    Control("instruments", "the instrument is not on the list", _instruments),
)  # fmt: skip
