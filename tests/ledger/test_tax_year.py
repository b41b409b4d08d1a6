"""Tax years: how long a holding was, and what a time zone may be called."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from core.errors import UserError
from ledger.tax_year import is_long_term, parse_zone


@pytest.mark.parametrize(
    ("acquired", "last_short_day", "first_long_day"),
    [
        ("2025-01-15", "2026-01-15", "2026-01-16"),
        ("2024-12-31", "2025-12-31", "2026-01-01"),
        ("2023-02-28", "2024-02-29", "2024-03-01"),
        ("2024-02-28", "2025-02-28", "2025-03-01"),
        ("2024-02-29", "2025-02-28", "2025-03-01"),
        ("2023-03-01", "2024-03-01", "2024-03-02"),
    ],
)
def test_more_than_a_year_counts_from_the_day_after(
    acquired: str, last_short_day: str, first_long_day: str
) -> None:
    bought = date.fromisoformat(acquired)
    assert not is_long_term(bought, bought)
    assert not is_long_term(bought, date.fromisoformat(last_short_day))
    assert is_long_term(bought, date.fromisoformat(first_long_day))


@pytest.mark.parametrize(
    "text",
    ["", "nowhere", "America", "../../etc/passwd", "/etc/localtime", "+15:00", "5", "-05:60", "٠"],
)
def test_bad_zone_is_one_clear_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^--timezone was .* allowed is UTC, an offset") as caught:
        parse_zone(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hours"), [("UTC", 0), ("utc", 0), ("+05:30", 5.5), ("-0330", -3.5), ("Asia/Tokyo", 9)]
)
def test_zone_is_an_offset_or_a_name(text: str, hours: float) -> None:
    offset = datetime(2026, 1, 1, tzinfo=parse_zone(text)).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == hours * 3600
