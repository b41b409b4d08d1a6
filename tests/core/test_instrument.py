"""Instrument: text to ticks and lots exactly or refused, and back."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import OffLotQuantity, OffTickPrice, ValueRefused
from core.kernels.book import MAX_STEPS
from core.model.instrument import STEPS_MAX, Instrument, parse_decimal, plain


def instrument(tick: str, lot: str, name: str = "BTC-USD") -> Instrument:
    return Instrument("coinbase", name, "BTC", "USD", Decimal(tick), Decimal(lot))


BTC = instrument("0.01", "0.00000001")
increments = st.sampled_from(
    ["0.01", "0.01000000", "0.05", "0.25", "1", "2.5", "10", "1E+2", "0.00000001", "1E-12", "0.003"]
)


@given(tick=increments, lot=increments, ticks=st.integers(0, 10**15), lots=st.integers(0, 10**15))
def test_ticks_and_lots_survive_the_way_to_text_and_back(
    tick: str, lot: str, ticks: int, lots: int
) -> None:
    one = instrument(tick, lot)
    assert one.ticks(one.price_text(ticks)) == ticks
    assert one.lots(one.qty_text(lots)) == lots
    assert one.price(ticks) == ticks * Decimal(tick)
    exact = ticks * Fraction(tick) * lots * Fraction(lot)
    assert Fraction(one.notional(ticks, lots)) == exact


@given(size=increments, steps=st.integers(1, 10**12), part=st.integers(1, 9))
def test_value_between_two_steps_is_refused_on_either_grid(
    size: str, steps: int, part: int
) -> None:
    one = instrument(size, size)
    between = steps * Decimal(size) + Decimal(size) * part / 10
    with pytest.raises(OffTickPrice, match="price"):
        one.ticks(between)
    with pytest.raises(OffLotQuantity, match="quantity"):
        one.lots(between)


@given(size=increments)
def test_decimals_and_units_rebuild_the_increment(size: str) -> None:
    one = instrument(size, size)
    assert one.tick_units * Decimal(10) ** -one.price_decimals == Decimal(size)
    assert one.lot_units * Decimal(10) ** -one.qty_decimals == Decimal(size)
    assert one.price_decimals >= 0


def test_padding_zeros_of_the_venue_change_nothing() -> None:
    assert instrument("0.01000000", "1.0").price_decimals == 2
    assert BTC.ticks("61837.63000000") == 6183763
    assert BTC.ticks("9999999999") == 999999999900


@given(tick=increments, ticks=st.integers(-(10**15), 10**15))
def test_price_for_the_eye_is_the_exact_price_and_always_as_long_after_the_point(
    tick: str, ticks: int
) -> None:
    one = instrument(tick, "1")
    shown = one.price_shown(ticks)
    assert Decimal(shown) == one.price(ticks)
    assert len(shown.partition(".")[2]) == one.price_decimals
    assert "E" not in shown


def test_notional_of_long_numbers_is_exact_beyond_28_digits() -> None:
    one = instrument("0.00000001", "0.00000001")
    notional = one.notional(123456789012345678, 987654321098765432)
    assert notional == Decimal("12193263113702179432.2511812221002896")


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "1e3", "1E3", "NaN", "Infinity", "0x1", "1_000", "01", "00", ".5", "5.",
     "1.2.3", "--1", "\u0661", "1\n", "1" * 19, "1." + "1" * 19, "1,5"],
)  # fmt: skip
def test_text_that_is_not_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueRefused, match="number was"):
        parse_decimal(text)


def test_refusal_shows_at_most_forty_characters_of_foreign_text() -> None:
    with pytest.raises(ValueRefused) as caught:
        parse_decimal("9" * 10_000)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+2", "100"), ("0.5000", "0.5"), ("100", "100"), ("-0", "0"), ("0.00", "0"),
     ("-2.50", "-2.5"), ("1E-8", "0.00000001")],
)  # fmt: skip
def test_plain_text_has_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


@pytest.mark.parametrize("size", ["0", "-0.01", "NaN", "Infinity"])
def test_increment_must_be_above_zero(size: str) -> None:
    with pytest.raises(ValueRefused, match="tick size"):
        instrument(size, "1")
    with pytest.raises(ValueRefused, match="lot size"):
        instrument("1", size)


@pytest.mark.parametrize("name", ["", "btc", "BTC USD", "BTC\x1b[2J", "[red]", "A" * 33, "BTC\n"])
def test_name_that_could_reach_the_screen_as_markup_is_refused(name: str) -> None:
    with pytest.raises(ValueRefused, match="instrument name"):
        instrument("0.01", "1", name)


def test_steps_that_no_kernel_holds_are_refused() -> None:
    assert STEPS_MAX == MAX_STEPS
    one = instrument("0.01", "0.01")
    assert one.ticks(one.price_text(STEPS_MAX)) == STEPS_MAX
    with pytest.raises(OffTickPrice, match="beyond"):
        one.ticks(one.price_text(STEPS_MAX + 1))
    with pytest.raises(OffLotQuantity, match="beyond"):
        one.lots("999999999999999999")
