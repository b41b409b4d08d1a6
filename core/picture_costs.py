"""The costs of our orders as the screen shows them: averages of the newest, and of one fill."""

from __future__ import annotations

from collections.abc import Iterable

from core.costs import MARKOUT_HORIZONS_S, Costs
from core.model.instrument import plain
from core.model.order import Fill
from core.snapshot import CostsView, FillCostView


def costs_view(costs: Costs) -> CostsView:
    """Return the means over the orders that are remembered; None where there is no data."""
    measured = [each for each in costs.orders.values() if each.realized_bps is not None]
    short, long = (
        _mean(
            moved
            for each in costs.orders.values()
            for (_, of_s), moved in each.markouts_bps.items()
            if of_s == horizon_s and moved is not None
        )
        for horizon_s in MARKOUT_HORIZONS_S
    )
    return CostsView(
        orders=len(measured),
        expected_bps=_mean(each.arrival.expected_bps for each in measured if each.arrival),
        realized_bps=_mean(e.realized_bps for e in measured if e.realized_bps is not None),
        markout_1s_bps=short,
        markout_10s_bps=long,
        bad_in_a_row=max(costs.bad_in_a_row.values(), default=0),
        bad_count=costs.bad_count,
    )


def fill_cost_view(costs: Costs, fill: Fill) -> FillCostView | None:
    """Return what the order of a fill cost; None if it is not remembered, as after a restart."""
    known = costs.orders.get(fill.client_order_id)
    if known is None:
        return None
    short, long = (known.markouts_bps.get((fill.fill_id, h)) for h in MARKOUT_HORIZONS_S)
    return FillCostView(
        expected_bps=None if known.arrival is None else known.arrival.expected_bps,
        realized_bps=known.realized_bps,
        cost=None if known.cost is None else plain(known.cost),
        is_bad=known.is_bad,
        markout_1s_bps=short,
        markout_10s_bps=long,
    )


def _mean(values: Iterable[float]) -> float | None:
    found = tuple(values)
    return sum(found) / len(found) if found else None
