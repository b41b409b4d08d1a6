"""Slippage by hand: what an entry may pay, what the book shows for it, what the fills came to."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.order import Fill, Side
from core.slippage import (
    arrival,
    cost,
    depth_lots,
    entry_limit,
    markout_bps,
    markout_money,
    realized_bps,
)
from tests.fakes import BTC

BIDS = np.array([[9_990, 5], [9_980, 10], [9_900, 100]], np.int64)
ASKS = np.array([[10_010, 5], [10_020, 10], [10_100, 100]], np.int64)
NONE = np.zeros((0, 2), np.int64)


def fill(side: Side, ticks: int, lots: int) -> Fill:
    return Fill("f", "o", BTC.name, side, ticks, lots, Decimal(1), "USDT", False, 1)


def test_an_entry_may_pay_its_bps_from_the_mid_and_not_a_tick_more() -> None:
    assert entry_limit(BIDS, ASKS, Side.BUY, 20.0) == 10_020
    assert entry_limit(BIDS, ASKS, Side.SELL, 20.0) == 9_980
    assert entry_limit(BIDS, ASKS, Side.BUY, 19.9) == 10_019
    assert entry_limit(BIDS, ASKS, Side.SELL, 19.9) == 9_981


def test_where_half_the_spread_is_more_there_is_no_price() -> None:
    assert entry_limit(BIDS, ASKS, Side.BUY, 10.0) == 10_010
    assert entry_limit(BIDS, ASKS, Side.BUY, 9.9) is None
    assert entry_limit(BIDS, ASKS, Side.SELL, 10.0) == 9_990
    assert entry_limit(BIDS, ASKS, Side.SELL, 9.9) is None


@pytest.mark.parametrize(("limit", "lots"), [(10_009, 0), (10_010, 5), (10_020, 15), (10_100, 115)])
def test_depth_is_what_is_shown_within_the_limit(limit: int, lots: int) -> None:
    assert depth_lots(ASKS, Side.BUY, limit) == lots
    assert depth_lots(BIDS, Side.SELL, 20_000 - limit) == lots


def test_what_is_expected_is_the_mean_of_the_levels_against_the_mid() -> None:
    for side, limit in ((Side.BUY, 10_020), (Side.SELL, 9_980)):
        found = arrival(BIDS, ASKS, side, 10, limit)
        assert found is not None
        assert (found.mid2_ticks, found.depth_lots) == (20_000, 15)
        assert found.expected_bps == 15.0  # half at 10, half at 20 ticks of 10,000


def test_more_than_the_depth_is_expected_at_the_mean_of_the_depth() -> None:
    found = arrival(BIDS, ASKS, Side.BUY, 1_000, 10_020)
    assert found is not None
    assert found.expected_bps == pytest.approx(250 / 15)


def test_where_nothing_is_shown_within_the_limit_a_fill_is_expected_at_the_limit() -> None:
    found = arrival(BIDS, ASKS, Side.BUY, 10, 9_995)
    assert found is not None
    assert (found.expected_bps, found.depth_lots) == (-5.0, 0)


def test_without_a_book_to_measure_against_nothing_is_expected() -> None:
    for bids, asks in ((NONE, ASKS), (BIDS, NONE), (ASKS, BIDS)):
        assert arrival(bids, asks, Side.BUY, 10, 10_020) is None


def test_realized_is_the_mean_of_the_fills_in_bps_and_in_money() -> None:
    bought = [fill(Side.BUY, 10_010, 100), fill(Side.BUY, 10_020, 300)]
    assert realized_bps(bought, 20_000) == 17.5
    # 100 lots of 0.00001 at 0.10 and 300 at 0.20 above the mid
    assert cost(bought, 20_000, BTC) == Decimal("0.0007")
    sold = [fill(Side.SELL, 10_010, 100)]
    assert realized_bps(sold, 20_000) == -10.0
    assert cost(sold, 20_001, BTC) == Decimal("-0.000095")


def test_a_markout_is_above_zero_when_the_mid_went_our_way() -> None:
    assert markout_bps(fill(Side.BUY, 10_000, 7), 20_020) == 10.0
    assert markout_bps(fill(Side.SELL, 10_000, 7), 20_020) == -10.0
    assert markout_money(fill(Side.BUY, 10_000, 100), 20_001, BTC) == Decimal("0.000005")


_levels = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 50)), min_size=1, max_size=8,
    unique_by=lambda level: level[0],
)  # fmt: skip


@given(
    bids=_levels, asks=_levels, lots=st.integers(1, 500), cap=st.floats(0, 400),
    side=st.sampled_from(Side),
)  # fmt: skip
def test_a_cut_entry_fills_whole_at_what_was_expected_and_never_beyond_its_cap(
    bids: list, asks: list, lots: int, cap: float, side: Side
) -> None:
    mid = 10_000
    below = np.array(sorted(([mid - a, n] for a, n in bids), reverse=True), np.int64)
    above = np.array(sorted([mid + a, n] for a, n in asks), np.int64)
    limit = entry_limit(below, above, side, cap)
    half_bps = (above[0, 0] - below[0, 0]) * 10_000 / (above[0, 0] + below[0, 0])
    if limit is None:
        assert half_bps > cap - 1  # a tick is a bps here
        return
    levels = above if side is Side.BUY else below
    lots = min(lots, depth_lots(levels, side, limit))
    assert lots > 0
    found = arrival(below, above, side, lots, limit)
    assert found is not None
    fills, left = [], lots
    for ticks, shown in levels.tolist():
        take = min(left, shown)
        if take:
            fills.append(fill(side, ticks, take))
        left -= take
    assert left == 0
    assert all(side.sign * (limit - each.price_ticks) >= 0 for each in fills)
    realized = realized_bps(fills, found.mid2_ticks)
    assert realized == pytest.approx(found.expected_bps)
    assert realized <= cap + 1e-9
    notional = BTC.notional(found.mid2_ticks, lots) / 2
    assert float(cost(fills, found.mid2_ticks, BTC)) == pytest.approx(
        realized * float(notional) / 10_000
    )
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
