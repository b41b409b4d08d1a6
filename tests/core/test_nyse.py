"""The calendar of the New York Stock Exchange against the days that it announced."""

from __future__ import annotations

from datetime import date, time

import pytest

from core.nyse import CLOSE, EARLY_CLOSE, close_of, early_closes, easter, holidays

ANNOUNCED = {
    2011: ("01-17 02-21 04-22 05-30 07-04 09-05 11-24 12-26", ""),
    2014: ("01-01 01-20 02-17 04-18 05-26 07-04 09-01 11-27 12-25", "07-03 11-28 12-24"),
    2015: ("01-01 01-19 02-16 04-03 05-25 07-03 09-07 11-26 12-25", "11-27 12-24"),
    2016: ("01-01 01-18 02-15 03-25 05-30 07-04 09-05 11-24 12-26", "11-25"),
    2022: ("01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26", "11-25"),
    2023: ("01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25", "07-03 11-24"),
    2024: ("01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25", "07-03 11-29 12-24"),
    2025: ("01-01 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25", "07-03 11-28 12-24"),
    2026: ("01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25", "11-27 12-24"),
    2027: ("01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24", "11-26"),
    2028: ("01-17 02-21 04-14 05-29 06-19 07-04 09-04 11-23 12-25", "07-03 11-24"),
}
"""Days without a session and days that end at 13:00, as announced (see ``core.nyse``)."""


def days(year: int, text: str) -> set[date]:
    return {date.fromisoformat(f"{year}-{day}") for day in text.split()}


@pytest.mark.parametrize("year", ANNOUNCED)
def test_days_of_a_year_are_those_that_were_announced(year: int) -> None:
    closed, early = ANNOUNCED[year]
    assert holidays(year) == days(year, closed)
    if early:
        assert early_closes(year) == days(year, early)


@pytest.mark.parametrize(
    ("day", "close"),
    [
        ("2021-12-31", CLOSE),  # New Year's Day of 2022 is a Saturday: the year is settled on this
        ("2023-01-02", None),  # it is a Sunday
        ("2021-06-18", CLOSE),  # Juneteenth was no holiday of the exchange yet
        ("2022-06-20", None),  # a Sunday
        ("2027-06-18", None),  # a Saturday
        ("2024-06-19", None),
        ("2025-04-18", None),  # Good Friday
        ("2025-04-21", CLOSE),  # Easter Monday is none
        ("2024-11-29", EARLY_CLOSE),
        ("2026-07-02", CLOSE),  # the holiday is kept on the 3rd, and has no eve
        ("2026-07-03", None),
        ("2027-12-23", CLOSE),
        ("2027-12-24", None),
        ("2025-01-09", None),  # a day of mourning
        ("2026-11-21", None),  # a Saturday
    ],
)
def test_session_of_a_day(day: str, close: time | None) -> None:
    assert close_of(date.fromisoformat(day)) == close


def test_days_beside_the_rules_are_told() -> None:
    monday = date(2026, 11, 16)
    assert close_of(monday) == CLOSE
    assert close_of(monday, closed={monday}) is None
    assert close_of(monday, early={monday}) == EARLY_CLOSE


@pytest.mark.parametrize(
    ("year", "day"),
    [(1961, "04-02"), (2000, "04-23"), (2008, "03-23"), (2011, "04-24"), (2038, "04-25"),
     (2076, "04-19")],
)  # fmt: skip
def test_easter_is_where_the_almanac_has_it(year: int, day: str) -> None:
    assert easter(year) == date.fromisoformat(f"{year}-{day}")


def test_every_year_has_nine_or_ten_holidays_and_none_at_a_weekend() -> None:
    for year in range(2022, 2122):
        found = holidays(year)
        assert len(found) == (9 if date(year, 1, 1).weekday() == 5 else 10)
        assert all(day.weekday() < 5 and day.year == year for day in found)
        assert not found & early_closes(year)
        assert 1 <= len(early_closes(year)) <= 3
        assert all(close_of(day) == EARLY_CLOSE for day in early_closes(year))
