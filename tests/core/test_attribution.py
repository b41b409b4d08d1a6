from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution import BIAS, UNKNOWN, SignalPart, entry_parts, split
from core.model.decision import SignalShare
from core.model.order import Side
from tests.core.test_strategy import FORECAST

SHARES = (SignalShare("a", 0.1, 0.3), SignalShare("b", 0.1, -0.2), SignalShare("c", 0.0, 0.0))


def test_a_purchase_is_put_down_to_what_leaned_up_in_proportion() -> None:
    forecast = msgspec.structs.replace(FORECAST, shares=SHARES, bias_share=0.1)
    assert entry_parts(forecast, Side.BUY) == (
        SignalPart("a", pytest.approx(0.75)),  # type: ignore[arg-type]
        SignalPart(BIAS, pytest.approx(0.25)),  # type: ignore[arg-type]
    )


def test_a_short_sale_is_put_down_to_what_leaned_down() -> None:
    forecast = msgspec.structs.replace(FORECAST, shares=SHARES, bias_share=0.1)
    assert entry_parts(forecast, Side.SELL) == (SignalPart("b", 1.0),)


def test_an_entry_that_nothing_spoke_for_and_one_nobody_decided_are_named_as_such() -> None:
    forecast = msgspec.structs.replace(FORECAST, shares=(), bias_share=0.0)
    assert entry_parts(forecast, Side.BUY) == ()
    assert split(Decimal("-1.5"), ()) == [(UNKNOWN, Decimal("-1.5"))]


def test_a_third_is_cut_and_the_largest_part_takes_the_rest() -> None:
    parts = (SignalPart("a", 0.25), SignalPart("b", 0.5), SignalPart("c", 0.25))
    gain = Decimal("0.000000000003")
    assert split(gain, parts) == [
        ("a", Decimal("0E-12")),
        ("b", gain),
        ("c", Decimal("0E-12")),
    ]


@given(
    st.decimals(-(10**9), 10**9, places=12),
    st.lists(st.floats(1e-9, 10), min_size=1, max_size=16),
)
def test_the_parts_add_up_to_the_whole_and_none_is_more_than_all(
    realized: Decimal, shares: list[float]
) -> None:
    parts = tuple(SignalPart(str(n), share / sum(shares)) for n, share in enumerate(shares))
    found = split(realized, parts)
    assert sum(part for _, part in found) == realized
    slack = Decimal("1e-6")  # of the float shares, which add up to one within 1e-15
    assert all(abs(part) <= abs(realized) + slack for _, part in found)
    assert all(part * realized >= 0 or abs(part) < slack for _, part in found)
