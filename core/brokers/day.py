"""When a trading day ends: what a DAY order lives by. Pure calendar arithmetic.

Stocks close at 16:00 in New York, at 13:00 on a short day (``core.nyse``); venues that never close
end their day at 00:00 UTC. An order that comes on a day without a session lives to the next close.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

from core.clock import NS_PER_S
from core.model.instrument import Instrument
from core.nyse import close_of

_DAY_S = 86_400

StockDays = tuple[Collection[date], Collection[date]]
"""Days without a session, and days with a short one, that follow no rule."""
NO_DAYS: StockDays = ((), ())


def day_end_ns(
    instrument: Instrument,
    now_ns: int,
    closed: Collection[date] = (),
    early: Collection[date] = (),
) -> int:
    """Return the end of the trading day of ``now_ns``: the first one after it.

    ``closed`` and ``early``: days beside the rules, as in ``core.nyse``.
    """
    now_s = now_ns // NS_PER_S
    if instrument.venue != "alpaca" or "/" in instrument.name:
        return (now_s // _DAY_S + 1) * _DAY_S * NS_PER_S
    day = datetime.fromtimestamp(now_s, UTC).date()
    while True:
        close = close_of(day, closed, early)
        if close is not None and (end_ns := _close_s(day, close) * NS_PER_S) > now_ns:
            return end_ns
        day += timedelta(days=1)


def _close_s(day: date, close: time) -> int:
    """Return a time in New York of ``day``, at noon or later, as Unix seconds."""
    offset = timedelta(hours=4 if _is_summer(day) else 5)
    return int((datetime.combine(day, close, tzinfo=UTC) + offset).timestamp())


def _is_summer(day: date) -> bool:
    """Whether New York is on summer time in the afternoon of ``day``; the rule in force since 2007.

    Source: Energy Policy Act of 2005, section 110: second Sunday of March to first of November.
    """
    return _sunday(day.year, 3, 2) <= day < _sunday(day.year, 11, 1)


def _sunday(year: int, month: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (count - 1))
