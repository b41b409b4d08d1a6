"""Where attached exits lie, when one is due, what the trader may set: the rules as functions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.config import ExitSettings
from core.exits import exits_for, set_by_hand, touched
from core.model.exits import ExitKind, Exits
from tests.fakes import BTC

SETTINGS = ExitSettings(stop_bps=20, take_profit_bps=30, time_stop_s=60)
OFF = ExitSettings(stop_bps=0, take_profit_bps=0, time_stop_s=0)
LONG = Exits(1, 5_988_000, 6_018_000, 60 * NS_PER_S)


def test_a_long_position_is_stopped_below_its_entry_and_taken_above() -> None:
    exits = exits_for(1, Fraction(6_000_000), 0, SETTINGS)
    assert exits == LONG
    assert exits_for(-1, Fraction(6_000_000), 0, SETTINGS) == Exits(
        -1, 6_012_000, 5_982_000, 60 * NS_PER_S
    )


def test_levels_are_rounded_in_the_direction_of_the_position() -> None:
    # 1000.5 ticks and 20 bps: 998.499 and, at 30 bps, 1003.5015.
    long = exits_for(1, Fraction(2001, 2), 0, SETTINGS)
    assert (long.stop_ticks, long.target_ticks) == (999, 1004)
    short = exits_for(-1, Fraction(2001, 2), 0, SETTINGS)
    assert (short.stop_ticks, short.target_ticks) == (1002, 997)


def test_a_distance_below_a_tick_is_a_tick() -> None:
    tight = ExitSettings(stop_bps=0.01, take_profit_bps=0.01, time_stop_s=0)
    assert exits_for(1, Fraction(100), 0, tight) == Exits(1, 99, 101)
    assert exits_for(-1, Fraction(201, 2), 0, tight) == Exits(-1, 101, 100)


def test_zero_is_off_and_nothing_left_is_told_as_empty() -> None:
    exits = exits_for(1, Fraction(6_000_000), 0, OFF)
    assert exits == Exits(1)
    assert exits.is_empty
    assert touched(exits, BTC, 1, 2, 10**18, 0) is None


@given(
    st.sampled_from((1, -1)),
    st.fractions(min_value=50, max_value=10**7, max_denominator=1000),
    st.floats(0.01, 500),
    st.floats(0.01, 500),
)
def test_stop_and_target_stand_on_their_sides_and_risk_no_more_than_was_said(
    sign: int, mean: Fraction, stop_bps: float, target_bps: float
) -> None:
    settings = ExitSettings(stop_bps=stop_bps, take_profit_bps=target_bps, time_stop_s=0)
    exits = exits_for(sign, mean, 0, settings)
    assert exits.stop_ticks is not None
    assert exits.target_ticks is not None
    assert sign * (exits.stop_ticks - mean) < 0 < sign * (exits.target_ticks - mean)
    risked = sign * (mean - exits.stop_ticks)
    assert risked <= max(mean * Fraction(str(stop_bps)) / 10_000, 1)
    assert sign * (exits.target_ticks - mean) >= mean * Fraction(str(target_bps)) / 10_000


@pytest.mark.parametrize(
    ("bid", "ask", "words"),
    [
        (5_988_001, 5_988_002, None),
        (5_988_000, 6_100_000, "stop at 59880 touched by bid 59880"),
        (5_987_950, 5_987_960, "stop at 59880 touched by bid 59879.5"),
        (6_017_999, 6_018_000, None),
        (6_018_100, 6_018_110, "target at 60180 touched by bid 60181"),
    ],
)
def test_a_long_position_is_judged_by_the_bid(bid: int, ask: int, words: str | None) -> None:
    touch = touched(LONG, BTC, bid, ask, 0, 0)
    assert (touch.words if touch else None) == words


def test_a_short_position_is_judged_by_the_ask() -> None:
    exits = exits_for(-1, Fraction(6_000_000), 0, SETTINGS)
    assert touched(exits, BTC, 6_011_998, 6_011_999, 0, 0) is None
    touch = touched(exits, BTC, 6_000_000, 6_012_000, 0, 0)
    assert touch is not None
    assert touch.words == "stop at 60120 touched by ask 60120"


def test_time_is_up_at_its_second_and_comes_after_the_prices() -> None:
    assert touched(LONG, BTC, 6_000_000, 6_000_001, 60 * NS_PER_S - 1, 0) is None
    late = touched(LONG, BTC, 6_000_000, 6_000_001, 61 * NS_PER_S, 0)
    assert late is not None
    assert (late.kind, late.words) == (ExitKind.TIME, "time stop at 60.0 s: held 61.0 s")
    both = touched(LONG, BTC, 5_000_000, 5_000_001, 61 * NS_PER_S, 0)
    assert both is not None
    assert both.kind is ExitKind.STOP


def hand(kind: ExitKind, value: str, exits: Exits = LONG) -> Exits:
    return set_by_hand(
        exits, kind, value, BTC, Fraction(12_000_001, 2), SETTINGS, 0, 10 * NS_PER_S
    )  # fmt: skip


def test_the_trader_sets_a_price_off_even_and_automatic_again() -> None:
    moved = hand(ExitKind.STOP, "59900")
    assert (moved.stop_ticks, moved.by_hand) == (5_990_000, (ExitKind.STOP,))
    assert hand(ExitKind.STOP, "even").stop_ticks == 6_000_001  # the mean lies between two ticks
    off = hand(ExitKind.TARGET, " OFF ", moved)
    assert (off.target_ticks, off.by_hand) == (None, (ExitKind.STOP, ExitKind.TARGET))
    back = hand(ExitKind.STOP, "auto", off)
    assert (back.stop_ticks, back.by_hand) == (5_988_001, (ExitKind.TARGET,))
    assert back.target_ticks is None
    assert hand(ExitKind.TIME, "2.5").due_ns == 12_500_000_000
    assert hand(ExitKind.TIME, "off").due_ns is None


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (ExitKind.STOP, "59900.001", "off the 0.01 tick"),
        (ExitKind.STOP, "soon", "number was 'soon'"),
        (ExitKind.STOP, "-5", "allowed is above 0"),
        (ExitKind.TARGET, "even", "number was 'even'"),
        (ExitKind.TIME, "0", "allowed is above 0 to 86400 seconds"),
        (ExitKind.TIME, "nan", "allowed is above 0 to 86400 seconds"),
        (ExitKind.TIME, "later", "allowed is above 0 to 86400 seconds"),
    ],
)
def test_what_cannot_be_set_is_refused_with_what_is_allowed(
    kind: ExitKind, value: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        hand(kind, value)


def test_an_entry_that_is_added_moves_what_the_trader_has_not_set() -> None:
    moved = hand(ExitKind.STOP, "59900")
    added = exits_for(1, Fraction(6_100_000), 0, SETTINGS, moved)
    assert added.stop_ticks == 5_990_000
    assert added.target_ticks == 6_118_300
    assert added.due_ns == LONG.due_ns
