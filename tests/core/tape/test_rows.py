"""Packing: any rows come out bit for bit, market rows come out small, bad bytes are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.model.market import MARKET_STATE
from core.tape.rows import ROWS_MAX, BadRows, pack_rows, unpack_rows
from tests.core.tape.made import some_rows


def market_rows(count: int, seed: int = 5) -> np.ndarray:
    """Return rows as a market makes them: a walking book, venue times in milliseconds."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, MARKET_STATE)
    rows["ts_recv_ns"] = 1_700_000_000 * 10**9 + np.cumsum(rng.normal(1e8, 1e6, count)).astype(int)
    rows["ts_event_ns"] = rows["ts_recv_ns"] // 10**6 * 10**6 - 3 * 10**6
    rows["bid_ticks"] = 6_000_000 + np.cumsum(rng.integers(-2, 3, count))
    rows["ask_ticks"] = rows["bid_ticks"] + rng.integers(1, 3, count)
    for side in ("bid", "ask"):
        rows[f"{side}_lots"] = rng.integers(1, 500_000, count)
        rows[f"depth_{side}_lots"] = rows[f"{side}_lots"] + rng.integers(1, 5_000_000, count)
    bid, ask, bid_lots, ask_lots, depth_bid, depth_ask = (
        rows[name].astype(object)
        for name in (
            "bid_ticks", "ask_ticks", "bid_lots", "ask_lots", "depth_bid_lots", "depth_ask_lots",
        )
    )  # fmt: skip
    rows["weighted_mid_ticks"] = (bid * ask_lots + ask * bid_lots) / (bid_lots + ask_lots)
    rows["imbalance_l1"] = (bid_lots - ask_lots) / (bid_lots + ask_lots)
    rows["imbalance_l10"] = (depth_bid - depth_ask) / (depth_bid + depth_ask)
    return rows


@given(
    hnp.arrays(np.uint8, st.integers(1, 40).map(lambda n: n * MARKET_STATE.itemsize)),
)
@settings(max_examples=60, deadline=None)
def test_any_bytes_that_are_rows_come_out_bit_for_bit(data: np.ndarray) -> None:
    rows = data.view(MARKET_STATE)
    assert unpack_rows(pack_rows(rows), len(rows)).tobytes() == rows.tobytes()


@pytest.mark.parametrize("extreme", [-(2**63), -1, 0, 1, 2**53 - 1, 2**53, 2**63 - 1])
def test_extreme_integers_and_odd_floats_come_out(extreme: int) -> None:
    rows = some_rows(9)
    for name in ("ts_event_ns", "ts_recv_ns", "bid_ticks", "ask_lots"):
        rows[name][::2] = extreme
    rows["trade_pressure"][:4] = [np.nan, np.inf, -0.0, 5e-324]
    assert unpack_rows(pack_rows(rows), 9).tobytes() == rows.tobytes()


@pytest.mark.parametrize("unit_ns", [1, 10**3, 10**6, 10**9, 7])
def test_event_times_of_any_unit_come_out(unit_ns: int) -> None:
    rows = some_rows(50)
    rows["ts_event_ns"] = rows["ts_recv_ns"] // unit_ns * unit_ns
    rows["ts_event_ns"][3] = 0
    assert unpack_rows(pack_rows(rows), 50).tobytes() == rows.tobytes()


def test_what_follows_from_other_columns_takes_no_room() -> None:
    rows = market_rows(256)
    blank = rows.copy()
    for name in ("weighted_mid_ticks", "imbalance_l1", "imbalance_l10"):
        blank[name] = 0.0
    assert len(pack_rows(rows)) < len(pack_rows(blank))
    assert len(pack_rows(rows)) < 18 * 256


def test_rows_of_one_instrument_are_packed_together() -> None:
    one, two = market_rows(128), market_rows(128, seed=6)
    two["instrument"], two["bid_ticks"] = 1, two["bid_ticks"] + 10**9
    mixed = np.empty(256, MARKET_STATE)
    mixed[::2], mixed[1::2] = one, two
    assert unpack_rows(pack_rows(mixed), 256).tobytes() == mixed.tobytes()
    assert len(pack_rows(mixed)) < 1.3 * (len(pack_rows(one)) + len(pack_rows(two)))


@pytest.mark.parametrize("count", [0, 3, 5, ROWS_MAX + 1])
def test_wrong_count_of_rows_is_refused(count: int) -> None:
    with pytest.raises(BadRows):
        unpack_rows(pack_rows(some_rows(4)), count)


@pytest.mark.slow
def test_cut_or_damaged_bytes_give_rows_or_are_refused_and_nothing_else() -> None:
    packed = pack_rows(some_rows(6))
    for place in range(len(packed)):
        with pytest.raises(BadRows):
            unpack_rows(packed[:place], 6)
        damaged = bytearray(packed)
        damaged[place] ^= 0x55
        try:
            assert len(unpack_rows(bytes(damaged), 6)) == 6
        except BadRows:
            continue
