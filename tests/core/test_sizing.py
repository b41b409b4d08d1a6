"""Price and size of an entry: within its bps of the mid, within the depth, smaller when wild."""

from __future__ import annotations

import numpy as np
import pytest

from core.config import Settings
from core.model import event as ev
from core.model.decision import Mode
from core.model.order import Side
from core.strategy import Hold, Idea, consider
from tests.core.test_engine import Bench
from tests.core.test_strategy import SETTINGS, forecast, sight

THIN = np.array([[6_000_001, 100], [6_001_800, 200], [6_001_801, 90_000]], np.int64)
THIN_BIDS = np.array([[5_999_999, 150], [5_998_200, 250], [5_998_199, 90_000]], np.int64)


def idea_of(**changes: object) -> Idea:
    idea = consider(sight(**changes), SETTINGS)
    assert isinstance(idea, Idea)
    return idea


def test_an_entry_is_cut_to_what_the_book_shows_within_its_limit() -> None:
    bought = idea_of(asks=THIN)
    assert (bought.side, bought.qty_lots, bought.limit_ticks) == (Side.BUY, 300, 6_001_800)
    sold = idea_of(bids=THIN_BIDS, forecast=forecast(p_up=0.4))
    assert (sold.side, sold.qty_lots, sold.limit_ticks) == (Side.SELL, 400, 5_998_200)


def test_the_cost_of_an_entry_is_that_of_what_is_left_of_it() -> None:
    whole, cut = idea_of(), idea_of(asks=THIN)
    assert cut.cost_bps > whole.cost_bps > 20.0


def test_where_half_the_spread_is_beyond_the_bps_there_is_no_entry_and_the_reason_is_told() -> None:
    wide = np.array([[6_004_000, 9_000]], np.int64)
    hold = consider(sight(asks=wide), SETTINGS)
    assert isinstance(hold, Hold)
    assert (hold.code, hold.is_wanted) == ("too_wide", True)
    assert hold.text == "half the spread is 3.33 bps, beyond the 3 bps an entry may pay"


def test_an_exit_goes_beyond_the_other_side_however_wide_the_spread() -> None:
    wide = np.array([[5_000_000, 9_000]], np.int64)
    idea = idea_of(bids=wide, position_lots=1_000, held_ns=10**18)
    assert (idea.side, idea.qty_lots) == (Side.SELL, 1_000)
    assert idea.limit_ticks == 5_000_000 - 1_500


@pytest.mark.parametrize(("share", "lots"), [(1.0, 1_666), (0.5, 833), (0.1, 166)])
def test_the_throttle_makes_an_entry_smaller(share: float, lots: int) -> None:
    assert idea_of(size_share=share).qty_lots == lots


def test_a_throttle_to_nothing_is_no_entry_and_says_why() -> None:
    hold = consider(sight(size_share=0.0), SETTINGS)
    assert isinstance(hold, Hold)
    assert hold.text == "order_notional times 0 while wild is less than one lot"


@pytest.mark.parametrize(("bucket", "lots"), [("wild", 833), ("lively", 1_666), (None, 1_666)])
def test_the_engine_throttles_in_a_wild_market_alone(
    bucket: str | None, lots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings().risk.wild_size_share == 0.5
    bench = Bench(Mode.CONFIRM)
    desk = type(bench.engine.desks[0])
    monkeypatch.setattr(desk, "bucket", property(lambda _: bucket))
    bench.propose()
    (decided,) = bench.sink.of(ev.Decided)
    assert decided.proposal.qty_lots == lots
    (throttle,) = (c for c in decided.proposal.checks if c.control == "volatility_notional")
    assert throttle.limit == ("1000" if bucket == "wild" else "no throttle")
