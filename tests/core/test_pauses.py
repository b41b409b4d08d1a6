"""Stops: what may not be entered for a while, and why."""

from __future__ import annotations

from core.clock import NS_PER_S
from core.pauses import Stops


def test_a_stop_tells_its_reason_until_its_end_to_the_nanosecond() -> None:
    stops = Stops()
    stops.stop("BTCUSDT", 10 * NS_PER_S, "slippage")
    assert stops.why("BTCUSDT", 0) == "slippage, 10 s left"
    assert stops.why("BTCUSDT", 10 * NS_PER_S - 1) == "slippage, 1 s left"
    assert stops.why("BTCUSDT", 10 * NS_PER_S) == ""
    assert stops.why("ETHUSDT", 0) == ""


def test_a_shorter_stop_does_not_cut_a_longer_one_short() -> None:
    stops = Stops()
    stops.stop("BTCUSDT", 10 * NS_PER_S, "slippage")
    stops.stop("BTCUSDT", 5 * NS_PER_S, "another")
    assert stops.why("BTCUSDT", 0) == "slippage, 10 s left"
    stops.stop("BTCUSDT", 20 * NS_PER_S, "longer")
    assert stops.why("BTCUSDT", 0) == "longer, 20 s left"
