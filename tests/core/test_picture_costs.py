"""The costs as the screen shows them: means of what is known, None for what is not."""

from __future__ import annotations

import pytest

from core.picture_costs import costs_view, fill_cost_view
from core.snapshot import CostsView
from tests.core.test_costs import BAD, closed, filled
from tests.core.test_engine import Bench


def test_before_the_first_fill_nothing_is_known() -> None:
    assert costs_view(Bench().engine.execution.costs) == CostsView(bad_count=3)


def test_the_view_has_the_means_of_the_orders_that_ended_with_a_fill() -> None:
    bench = Bench()
    filled(bench, BAD)
    closed(bench, 5_999_999)
    costs = bench.engine.execution.costs
    view = costs_view(costs)
    assert (view.orders, view.bad_in_a_row) == (2, 0)
    assert view.realized_bps == pytest.approx((1_801 / 600 + 1 / 600) / 2)
    assert view.expected_bps == pytest.approx(1 / 600)
    # The second was filled just now; the first a second ago, 1,801 ticks above the mid.
    assert view.markout_1s_bps == pytest.approx(-1_801 / 600, rel=1e-3)
    assert view.markout_10s_bps is None


def test_a_fill_has_the_cost_of_its_order_and_its_own_markouts() -> None:
    bench = Bench()
    filled(bench, BAD)
    bench.pass_ms(1_000)
    costs = bench.engine.execution.costs
    view = fill_cost_view(costs, bench.engine.execution.fills[0].fill)
    assert view is not None
    assert view.realized_bps == pytest.approx(1_801 / 600)
    assert view.cost == "0.1801"
    assert view.is_bad
    assert view.markout_1s_bps == pytest.approx(-1_801 / 600, rel=1e-3)
    assert view.markout_10s_bps is None


def test_a_fill_whose_order_is_forgotten_has_no_cost() -> None:
    bench = Bench()
    filled(bench)
    costs = bench.engine.execution.costs
    costs.orders.clear()
    assert fill_cost_view(costs, bench.engine.execution.fills[0].fill) is None
