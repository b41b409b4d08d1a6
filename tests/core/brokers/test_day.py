"""The end of a trading day, on both sides of summer time and over a weekend."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from core.brokers.day import day_end_ns
from core.clock import NS_PER_S
from core.sim.market import sim_instrument

COIN = sim_instrument()
STOCK = msgspec.structs.replace(COIN, venue="alpaca", name="IBM")
ALPACA_COIN = msgspec.structs.replace(STOCK, name="BTC/USD")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS_PER_S


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2013-10-07T14:00", "2013-10-07T20:00"),  # Monday, summer time
        ("2013-10-07T19:59:59", "2013-10-07T20:00"),
        ("2013-10-07T20:00", "2013-10-08T20:00"),  # at the close it is the next day's
        ("2013-12-02T15:00", "2013-12-02T21:00"),  # winter time
        ("2013-10-11T21:00", "2013-10-14T20:00"),  # Friday evening to Monday
        ("2026-03-06T22:00", "2026-03-09T20:00"),  # over the Sunday on which summer time begins
        ("2026-10-30T21:00", "2026-11-02T21:00"),  # and the one on which it ends
        ("2026-03-08T12:00", "2026-03-09T20:00"),
        ("2024-11-28T15:00", "2024-11-29T18:00"),  # Thanksgiving to the short Friday
        ("2024-11-29T17:59:59", "2024-11-29T18:00"),
        ("2024-11-29T18:00", "2024-12-02T21:00"),
        ("2025-04-18T14:00", "2025-04-21T20:00"),  # Good Friday to Monday
        ("2026-07-02T20:00", "2026-07-06T20:00"),  # the 4th is a Saturday: kept on Friday
        ("2025-07-03T16:59", "2025-07-03T17:00"),  # a short day in summer time
    ],
)
def test_r14_day_of_a_stock_ends_at_the_close_in_new_york(now: str, end: str) -> None:
    assert day_end_ns(STOCK, ns(now)) == ns(end)


def test_r14_a_day_that_follows_no_rule_ends_orders_as_the_settings_say() -> None:
    now, monday = ns("2026-11-30T15:00"), date(2026, 11, 30)
    assert day_end_ns(STOCK, now, early={monday}) == ns("2026-11-30T18:00")
    assert day_end_ns(STOCK, now, closed={monday}) == ns("2026-12-01T21:00")


@pytest.mark.parametrize("instrument", [COIN, ALPACA_COIN])
def test_r14_day_of_a_market_that_never_closes_ends_at_midnight_utc(instrument: object) -> None:
    assert day_end_ns(instrument, ns("2024-08-08T23:54:13")) == ns("2024-08-09")
    assert day_end_ns(instrument, ns("2024-08-09")) == ns("2024-08-10")
