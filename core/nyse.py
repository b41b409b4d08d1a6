"""The calendar of the New York Stock Exchange: which days have a session, and when it ends.

Facts and rules, no list of a year: a day's answer is worked out for any year. The rules are those
in force since 2022 (Juneteenth came then); single days that follow no rule are ``CLOSED_ONCE``, and
whoever uses this adds what will be announced. Source: NYSE Rule 7.2 (holidays, and what a Saturday
or a Sunday does to them); NYSE Group, "Holiday and Early Closings Calendar", announced 2021-12-27
(2022 to 2024), 2023-11-10 (2024 to 2026), 2025-12-23 (2026 to 2028); Easter after the anonymous
Gregorian algorithm (Meeus, Astronomical Algorithms, chapter 8).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time, timedelta
from functools import cache

OPEN = time(9, 30)
CLOSE = time(16)
EARLY_CLOSE = time(13)
JUNETEENTH_SINCE = 2022
CLOSED_ONCE = frozenset(
    {
        date(2012, 10, 29), date(2012, 10, 30),  # hurricane Sandy
        date(2018, 12, 5),  # mourning: G. H. W. Bush
        date(2025, 1, 9),  # mourning: J. Carter
    }
)  # fmt: skip
_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6


def close_of(day: date, closed: Collection[date] = (), early: Collection[date] = ()) -> time | None:
    """Return when the session of ``day`` ends in New York, or None on a day without one.

    ``closed`` and ``early`` are days beside the rules: without a session, or with a short one.
    """
    if day.weekday() >= _SATURDAY or day in closed or day in CLOSED_ONCE:
        return None
    if day in holidays(day.year):
        return None
    return EARLY_CLOSE if day in early or day in early_closes(day.year) else CLOSE


@cache
def holidays(year: int) -> frozenset[date]:
    """Return the days of a year on which a holiday is kept; single closures are not among them.

    One on a Saturday is kept on the Friday before, unless a month or a year is settled that day:
    so New Year's Day is not kept then. One on a Sunday is kept on the Monday after.
    """
    fixed = [date(year, 7, 4), date(year, 12, 25)]
    if year >= JUNETEENTH_SINCE:
        fixed.append(date(year, 6, 19))
    kept = [_kept(day) for day in fixed]
    new_year = date(year, 1, 1)
    if new_year.weekday() != _SATURDAY:
        kept.append(_kept(new_year))
    kept += [
        _nth(year, 1, _MONDAY, 3),  # Martin Luther King, Jr.
        _nth(year, 2, _MONDAY, 3),  # Washington's Birthday
        easter(year) - timedelta(days=2),  # Good Friday
        _nth(year, 6, _MONDAY, 1) - timedelta(days=7),  # Memorial Day: the last of May
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _thanksgiving(year),
    ]
    return frozenset(kept)


@cache
def early_closes(year: int) -> frozenset[date]:
    """Return the days of a year whose session ends at 13:00: the eves, where they are trading days.

    The day before Independence Day and Christmas Eve count where the holiday itself is kept on its
    own day; the day after Thanksgiving always.
    """
    days = {_thanksgiving(year) + timedelta(days=1)}
    for holiday in (date(year, 7, 4), date(year, 12, 25)):
        eve = holiday - timedelta(days=1)
        if holiday.weekday() < _SATURDAY and eve.weekday() < _SATURDAY:
            days.add(eve)
    return frozenset(days)


def easter(year: int) -> date:
    """Return Easter Sunday of a Gregorian year."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    left = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 19 * left) // 433
    month = (h + left - 7 * m + 90) // 25
    return date(year, month, (h + left - 7 * m + 33 * month + 19) % 32)


def _kept(day: date) -> date:
    shift = {_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0)
    return day + timedelta(days=shift)


def _nth(year: int, month: int, weekday: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def _thanksgiving(year: int) -> date:
    return _nth(year, 11, _THURSDAY, 4)
