"""When a trading day ends: what a DAY order lives by. Pure calendar arithmetic.

Stocks close at 16:00 in New York, Monday to Friday; venues that never close end their day at
00:00 UTC. Holidays and early closes are not known: such an order lives to the usual close.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from core.clock import NS_PER_S
from core.model.instrument import Instrument

CLOSE_HOUR = 16
_SATURDAY = 5
_DAY_S = 86_400


def day_end_ns(instrument: Instrument, now_ns: int) -> int:
    """Return the end of the trading day of ``now_ns``: the first one after it."""
    now_s = now_ns // NS_PER_S
    if instrument.venue != "alpaca" or "/" in instrument.name:
        return (now_s // _DAY_S + 1) * _DAY_S * NS_PER_S
    day = datetime.fromtimestamp(now_s, UTC).date()
    while True:
        end_ns = _close_s(day) * NS_PER_S
        if day.weekday() < _SATURDAY and end_ns > now_ns:
            return end_ns
        day += timedelta(days=1)


def _close_s(day: date) -> int:
    """Return 16:00 in New York of ``day`` as Unix seconds."""
    hours = CLOSE_HOUR + (4 if _is_summer(day) else 5)
    return int(datetime(day.year, day.month, day.day, hours, tzinfo=UTC).timestamp())


def _is_summer(day: date) -> bool:
    """Whether New York is on summer time at 16:00 of ``day``; the rule in force since 2007.

    Source: Energy Policy Act of 2005, section 110: second Sunday of March to first of November.
    """
    return _sunday(day.year, 3, 2) <= day < _sunday(day.year, 11, 1)


def _sunday(year: int, month: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (count - 1))
