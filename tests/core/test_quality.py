"""Slippage and markouts of a backtest: sums of what the ledger says, the newest word counts."""

from __future__ import annotations

from decimal import Decimal

from core.model.event import MarkedOut, SlippageMeasured
from core.quality import Markout, Quality, QualityTally
from tests.fakes import BTC


def slippage(key: str, lots: int, expected: float, cost: str) -> SlippageMeasured:
    return SlippageMeasured(
        client_order_id=key, decision_id="d", instrument=BTC.name, filled_lots=lots,
        arrival_mid="50000.005", expected_bps=expected, realized_bps=0.0, cost=cost,
        currency="USDT", is_bad=False, bad_in_a_row=0,
    )  # fmt: skip


def markout(horizon_s: int, bps: float | None, gain: str | None) -> MarkedOut:
    return MarkedOut("f", "o", BTC.name, horizon_s, "50000", bps, gain, "USDT")


def test_orders_are_weighted_by_what_they_filled() -> None:
    """1 BTC that cost 10 and 3 BTC that cost 2, at a mid of 50,000.005: 12 in 200,000.02."""
    tally = QualityTally()
    tally.take_slippage(slippage("a", 100_000, 1.0, "10"), BTC)
    tally.take_slippage(slippage("b", 300_000, 0.0, "2"), BTC)
    result = tally.result()
    assert (result.orders, result.notional) == (2, Decimal("200000.02"))
    assert (result.cost, result.expected_cost) == (12, Decimal("5.00000050"))
    assert result.realized_bps == 0.6
    assert result.expected_bps == 0.25


def test_order_that_fills_after_its_end_is_counted_once_by_its_newest_word() -> None:
    tally = QualityTally()
    tally.take_slippage(slippage("a", 100_000, 0.0, "10"), BTC)
    tally.take_slippage(slippage("a", 200_000, 0.0, "18"), BTC)
    assert (tally.result().orders, tally.result().cost) == (1, 18)


def test_markouts_are_counted_where_there_was_a_book_and_files_add_up() -> None:
    tally = QualityTally()
    for one in (markout(10, -2.0, "-4"), markout(1, 1.0, "2"), markout(1, None, None),
                markout(1, 2.0, "3")):  # fmt: skip
        tally.take_markout(one)
    result = tally.result()
    assert result.markouts == (Markout(1, 2, Decimal(5), 3.0), Markout(10, 1, Decimal(-4), -2.0))
    assert [one.mean_bps for one in result.markouts] == [1.5, -2.0]
    both = result.then(result)
    assert both.markouts[0] == Markout(1, 4, Decimal(10), 6.0)


def test_nothing_measured_has_no_rate() -> None:
    assert Quality().realized_bps is None
    assert QualityTally().result() == Quality()
