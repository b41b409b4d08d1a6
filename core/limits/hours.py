"""Trading hours of stocks: the regular session in New York, by the calendar of the exchange.

Coins trade at all hours. Holidays and short days follow rules (``core.nyse``); the settings add
those that follow none, such as a day of mourning.
"""

from __future__ import annotations

from datetime import datetime, time
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.clock import NS_PER_S
from core.config import RiskSettings
from core.limits.view import UNKNOWN
from core.model.instrument import Instrument
from core.nyse import CLOSE, close_of

ZONE = "America/New_York"
TEST_STOCK = "FAKEPACA"
"""Alpaca's own test symbol, which trades at all hours."""
_SATURDAY = 5


@cache
def _zone() -> ZoneInfo | None:
    try:
        return ZoneInfo(ZONE)
    except ZoneInfoNotFoundError:
        return None


def is_stock(instrument: Instrument) -> bool:
    """Tell whether the instrument is a stock: on Alpaca, coins are spelled with a slash."""
    return (
        instrument.venue == "alpaca"
        and "/" not in instrument.name
        and instrument.name != TEST_STOCK
    )


def hours_of(instrument: Instrument, now_ns: int, limits: RiskSettings) -> tuple[str, str, bool]:
    """Return the time in New York, the session of that day, and whether it is open."""
    if not is_stock(instrument):
        return "no stock", "all hours", True
    zone = _zone()
    if zone is None:
        return UNKNOWN, f"a time zone table with {ZONE}", False
    now = datetime.fromtimestamp(now_ns // NS_PER_S, zone)
    session, is_open = _session(now, limits)
    return f"{now:%a %Y-%m-%d %H:%M} New York", session, is_open


def _session(now: datetime, limits: RiskSettings) -> tuple[str, bool]:
    day = now.date()
    if day.weekday() >= _SATURDAY:
        return "no session at the weekend", False
    close = close_of(day, *limits.stock_days)
    if close is None:
        return "no session on a holiday", False
    closes = limits.stock_close if close == CLOSE else limits.stock_early_close
    is_open = _clock(limits.stock_open) <= now.time() < _clock(closes)
    return f"{limits.stock_open} to {closes}", is_open


def _clock(text: str) -> time:
    return time.fromisoformat(text)
