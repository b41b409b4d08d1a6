"""Slippage and markouts in words: all there is, what fits, and ``no data`` for the rest."""

from __future__ import annotations

import msgspec
import pytest

from core.snapshot import CostsView, FillCostView
from tui.present.costs import cost_line, cost_rows

COSTS = CostsView(orders=4, expected_bps=0.08, realized_bps=0.104, markout_1s_bps=-0.2,
                  markout_10s_bps=1.5, bad_in_a_row=0, bad_count=3)  # fmt: skip
FILL = FillCostView(expected_bps=0.08, realized_bps=2.5, cost="0.25", is_bad=True,
                    markout_1s_bps=-0.2, markout_10s_bps=None)  # fmt: skip


def words(costs: CostsView, width: int) -> str:
    return "".join(span.text for span in cost_line(costs, width))


def test_before_the_first_order_has_filled_there_is_no_data() -> None:
    assert words(CostsView(), 60) == " slippage   no data yet"


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (80, " slippage   +0.10 bps expected +0.08 1 s -0.20 10 s +1.50"),
        (56, " slippage   +0.10 bps expected +0.08 1 s -0.20"),
        (36, " slippage   +0.10 bps expected +0.08"),
        (35, " slippage   +0.10 bps"),
    ],
)
def test_a_narrow_pane_keeps_what_matters_most_and_never_cuts_a_word(width: int, told: str) -> None:
    assert words(COSTS, width) == told


def test_bad_ones_in_a_row_come_first() -> None:
    bad = msgspec.structs.replace(COSTS, bad_in_a_row=2)
    assert words(bad, 38) == " slippage   +0.10 bps 2 of 3 bad"


def test_a_fill_says_what_its_order_cost_and_what_is_not_known_yet() -> None:
    assert dict(cost_rows(FILL)) == {
        "slippage": "+2.50 bps of the mid on arrival (0.25), a bad one",
        "expected": "+0.08 bps",
        "markout": "1 s -0.20, 10 s no data bps",
    }
    open_order = msgspec.structs.replace(FILL, realized_bps=None, cost=None, expected_bps=None)
    assert dict(cost_rows(open_order))["slippage"] == "no data"
    assert dict(cost_rows(open_order))["expected"] == "no data"


def test_a_fill_of_an_earlier_start_says_that_its_cost_is_not_known() -> None:
    assert dict(cost_rows(None)) == {
        "slippage": "no data: filled before this start", "markout": "no data"
    }  # fmt: skip
