from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.curve import Curve, Reach

ZERO = Decimal(0)
cents = st.integers(-10_000, 10_000).map(lambda value: Decimal(value) / 100)
values = st.lists(cents, max_size=60)


def curve_of(pnls: list[Decimal], points_max: int = 8) -> Curve:
    curve = Curve(points_max)
    for second, pnl in enumerate(pnls, 1):
        curve.take(second, pnl, hold=-pnl, fees=ZERO)
    return curve


def drawdown_of(pnls: list[Decimal]) -> Decimal:
    """Return the deepest fall from a peak before it; the curve starts at zero."""
    whole = [ZERO, *pnls]
    return max(max(whole[: place + 1]) - value for place, value in enumerate(whole))


def test_the_drawdown_is_the_deepest_fall_from_the_highest_point_before_it() -> None:
    """0, up to 5, down to 1 (fall of 4), up to 6, down to 3 (fall of 3)."""
    assert curve_of([Decimal(n) for n in (5, 1, 6, 3)]).reach.drawdown == 4


def test_a_loss_from_the_start_is_a_drawdown() -> None:
    assert curve_of([Decimal(-2)]).reach == Reach(Decimal(-2), ZERO, Decimal(-2), Decimal(2))


@given(values)
def test_the_drawdown_is_that_of_every_value_however_few_points_are_kept(
    pnls: list[Decimal],
) -> None:
    curve = curve_of(pnls)
    assert curve.reach.drawdown == drawdown_of(pnls)
    assert max((point.drawdown for point in curve.points), default=ZERO) == drawdown_of(pnls)


@given(values)
def test_the_points_are_few_in_order_and_end_with_the_newest_value(pnls: list[Decimal]) -> None:
    points = curve_of(pnls).points
    assert len(points) <= 8
    assert [point.ts_ns for point in points] == sorted({point.ts_ns for point in points})
    assert all(point.pnl == pnls[point.ts_ns - 1] == -point.hold for point in points)
    if pnls:
        assert points[-1].ts_ns == len(pnls)


def test_few_values_are_all_kept() -> None:
    assert [p.ts_ns for p in curve_of([ZERO] * 8).points] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [p.ts_ns for p in curve_of([ZERO] * 9).points] == [2, 4, 6, 8, 9]


@given(values, values)
def test_two_reaches_end_to_end_are_the_reach_of_the_whole(
    first: list[Decimal], second: list[Decimal]
) -> None:
    start = first[-1] if first else ZERO
    whole = curve_of([*first, *(start + value for value in second)]).reach
    assert curve_of(first).reach.then(curve_of(second).reach) == whole
